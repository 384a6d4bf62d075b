"""The gateway's capture as a second witness: do its packets and the gateway's records tell the same?

What the gateway says it answered is compared with what was dialled, packet by packet, as the kernel saw it; and what
passed the pod's interface and nobody recorded, connections from one process of the pod to another, is counted.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from collector.pcap import Frame, Pcap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.gateway import GatewayLog

CAPTURE: Final = "capture.pcapng.zst"
_RAW_IP: Final = 101
_LOOPBACK: Final = 1
"""Number of the interface with the packets as they were (docs/bundle.md)."""
_ROWS: Final = 100
_MAX_DIALLED: Final = 100_000
_TCP: Final = 6
_SYN, _SYN_ACK = 0x02, 0x12
_EXTENSIONS: Final = frozenset({0, 43, 60})
_MAX_EXTENSIONS: Final = 8
_PROTOCOLS: Final = {1: "icmp", _TCP: "tcp", 17: "udp", 58: "icmpv6"}


class LocalPeer(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """An address inside the pod to which processes of the pod connected, past the gateway."""

    ip: str
    port: int
    count: int


class CaptureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the capture shows."""

    packets: int
    omitted: int
    """Packets that it lacks because it had reached its bound; no gap, as the records go on."""
    dialled: int
    """Connections that were on their way to the gateway, as the kernel saw them."""
    answered: int
    """Those of which the gateway tells."""
    local: tuple[LocalPeer, ...]
    """Connections between processes of the pod; the first 100 addresses."""
    protocols: dict[str, int]
    """Packets as they passed the pod's interface, other than of TCP and to the name server, by protocol."""


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """What the capture says, and where it disagrees with the records."""

    report: CaptureReport
    gaps: tuple[str, ...]
    """Sentences."""


def witness(chunks: Iterable[bytes], log: GatewayLog) -> Witness:
    """Read a capture and compare it with the gateway's records.

    Args:
        chunks: Bytes of `capture.pcapng`.
        log: The records.

    Returns:
        What it shows. A capture that is not whole is a gap.
    """
    pcap = Pcap(chunks)
    ports = frozenset(log.capture.ports) if log.capture else frozenset[int]()
    packets = 0
    dialled: set[tuple[bytes, int, bytes]] = set()
    local: Counter[tuple[bytes, int]] = Counter()
    protocols: Counter[str] = Counter()
    for frame in pcap:
        packets += 1
        if frame.interface != _LOOPBACK:
            continue
        protocol, source, destination, payload = ip_packet(frame)
        if protocol != _TCP:
            protocols[_PROTOCOLS.get(protocol, str(protocol))] += 1
        elif len(payload) > 13 and payload[13] & _SYN_ACK == _SYN:  # noqa: PLR2004 - where the flags are
            port = int.from_bytes(payload[2:4], "big")
            # A repeated one has the same number: it is counted once.
            key = (source, int.from_bytes(payload[:2], "big"), payload[4:8])
            if key in dialled or len(dialled) >= _MAX_DIALLED:
                continue
            if port in ports:
                dialled.add(key)
            elif (destination, port) in local or len(local) < _MAX_DIALLED:
                local[destination, port] += 1
    answered = len(log.connections) + sum(loss.count for loss in log.losses if loss.name == "connections")
    report = CaptureReport(
        packets=packets,
        omitted=log.capture.omitted if log.capture else 0,
        dialled=len(dialled),
        answered=answered,
        local=tuple(
            LocalPeer(ip=str(ipaddress.ip_address(ip)), port=port, count=count)
            for (ip, port), count in sorted(local.items())[:_ROWS]
        ),
        protocols=dict(sorted(protocols.items())),
    )
    return Witness(report=report, gaps=tuple(_gaps(report, pcap.broken, log)))


def _gaps(report: CaptureReport, broken: str, log: GatewayLog) -> list[str]:
    if broken:
        return [f"the capture is not readable to its end: {broken}"]
    if log.capture is None or log.capture.packets != report.packets:
        return ["the capture is not the one that the gateway tells of"]
    if report.dialled > report.answered:
        missing = report.dialled - report.answered
        what = "1 connection was" if missing == 1 else f"{missing:,} connections were"
        return [f"{what} dialled that the gateway does not tell of"]
    return []


def ip_packet(frame: Frame) -> tuple[int, bytes, bytes, bytes]:
    """Read the IP header of a packet.

    Args:
        frame: Any packet.

    Returns:
        Protocol, source, destination and payload; -1 and nothing else of what is no IP, or on another kind of link.
    """
    data = frame.data
    version = data[0] >> 4 if frame.link == _RAW_IP and data else 0
    if version == 4 and len(data) >= 20:  # noqa: PLR2004 - the header's least length
        return data[9], data[12:16], data[16:20], data[(data[0] & 15) * 4 :]
    if version == 6 and len(data) >= 40:  # noqa: PLR2004 - the header's length
        protocol, at = data[6], 40
        for _ in range(_MAX_EXTENSIONS):
            if protocol not in _EXTENSIONS or len(data) < at + 8:
                break
            protocol, at = data[at], at + 8 + data[at + 1] * 8
        return protocol, data[8:24], data[24:40], data[at:]
    return -1, b"", b"", b""
