"""Watches the namespace's only interface for packets that are neither TCP nor the gateway's own DNS.

The first packet of each TCP connection goes into the capture too: of those to loopback addresses, which are not
redirected, and of those that end before they reach us, nothing else tells.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from collector.records import DatagramRecord
from sandbox.gateway.capture import LOOPBACK, Capture
from sandbox.gateway.packets import ETH_P_IP, ETH_P_IPV6, Packet, parse_packet

if TYPE_CHECKING:
    from types import TracebackType

    from sandbox.gateway.journal import Journal

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BATCH = 64
_LOOPBACK = ("127.0.0.1", "::1")
_DNS_PORT = 53
_MAX_PACKET = 65536
_BUFFER = 8 * 1024**2
# Classic BPF. On `lo` each packet is seen twice; the way out is kept. TCP is dropped in the kernel: it is all the bulk.
_AD = 0xFFFFF000  # SKF_AD_OFF
_PKTTYPE, _PROTOCOL = _AD + 4, _AD + 0
_NET = 0xFFF00000  # SKF_NET_OFF
_LDB, _LDH, _LDX_HEADER, _LDB_X, _JA, _AND, _JEQ, _RET = 0x30, 0x28, 0xB1, 0x50, 0x05, 0x54, 0x15, 0x06
_SYN, _SYN_ACK = 0x02, 0x12
_FILTER = (
    (_LDB, 0, 0, _PKTTYPE),
    (_JEQ, 0, 13, socket.PACKET_OUTGOING),
    (_LDH, 0, 0, _PROTOCOL),
    (_JEQ, 0, 5, ETH_P_IP),
    (_LDB, 0, 0, _NET + 9),
    (_JEQ, 0, 10, socket.IPPROTO_TCP),
    (_LDX_HEADER, 0, 0, 0),
    (_LDB_X, 0, 0, 13),
    (_JA, 0, 0, 4),
    (_JEQ, 0, 5, ETH_P_IPV6),
    (_LDB, 0, 0, _NET + 6),
    (_JEQ, 0, 4, socket.IPPROTO_TCP),
    (_LDB, 0, 0, 53),
    (_AND, 0, 0, _SYN_ACK),
    (_JEQ, 1, 0, _SYN),
    (_RET, 0, 0, 0),
    (_RET, 0, 0, 0xFFFFFFFF),
)


class PacketTap:
    """A raw socket on `lo`, read by the event loop; a context manager. Needs CAP_NET_RAW.

    Args:
        journal: Where packets are written down, and that there is no tap.
        capture: Where they are written as they were.
        dns_port: The gateway's own port, whose packets are not the package's.
        body_bytes: Bound on the payload kept.
    """

    def __init__(self, journal: Journal, capture: Capture, dns_port: int, body_bytes: int) -> None:
        self._journal = journal
        self._capture = capture
        self._dns_port = dns_port
        self._body_bytes = body_bytes
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        try:
            self._socket = _open_tap()
        except OSError as error:
            self._journal.limit(f"no packet tap: {error}")
        else:
            asyncio.get_running_loop().add_reader(self._socket, self._drain, self._socket)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            while self._drain(self._socket):
                pass
            _, lost = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            if lost:
                self._journal.limit(f"the packet tap lost {lost} packets")
            self._socket.close()

    def _drain(self, tap: socket.socket) -> bool:
        """Read a batch; True when there may be more."""
        for _ in range(_BATCH):
            try:
                data, address = tap.recvfrom(_MAX_PACKET)
            except BlockingIOError:
                return False
            except OSError as error:
                self._journal.limit(f"the packet tap broke: {error}")
                return False
            self._take(address[1], data)
        return True

    def _take(self, ethertype: int, data: bytes) -> None:
        packet = None
        with suppress(ValueError):
            packet = parse_packet(ethertype, data)
        if packet is not None and self._is_dns(packet):
            # In the capture already, as the package meant it.
            return
        self._capture.packet(LOOPBACK, data)
        if packet is not None and not _is_local(packet):
            self._record(packet)

    def _is_dns(self, packet: Packet) -> bool:
        """Tell whether this is DNS on its way to or from us."""
        if packet.protocol != "udp":
            return False
        asked = packet.destination in _LOOPBACK and packet.port == self._dns_port
        # Our answer: the kernel puts the dialled resolver's address back before it passes the interface. A package has
        # no capability with which it could send from this port itself.
        return asked or packet.source_port == _DNS_PORT

    def _record(self, packet: Packet) -> None:
        self._journal.write(
            DatagramRecord(
                ts=time.time(),
                protocol=packet.protocol,
                ip=packet.destination,
                port=packet.port,
                peer_port=packet.source_port,
                payload=packet.payload[: self._body_bytes],
                size=len(packet.payload),
                truncated=len(packet.payload) > self._body_bytes,
            ),
        )


def _is_local(packet: Packet) -> bool:
    """Tell whether this is a process of the pod talking with itself."""
    ends = (ipaddress.ip_address(packet.source), ipaddress.ip_address(packet.destination))
    return packet.protocol == "udp" and all(end.is_loopback for end in ends)


def _open_tap() -> socket.socket:
    # Protocol 0 at first: nothing is queued before the filter stands.
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        program = b"".join(struct.pack("HBBI", *line) for line in _FILTER)
        buffer = ctypes.create_string_buffer(program)
        header = struct.pack("HL", len(_FILTER), ctypes.addressof(buffer))
        tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        tap.bind(("lo", _ETH_P_ALL))
        tap.setblocking(False)
    except OSError:
        tap.close()
        raise
    return tap
