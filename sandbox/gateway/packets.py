"""Reads IP packets far enough to say what a package sent outside TCP and DNS."""

from __future__ import annotations

import ipaddress
import socket

import msgspec

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_IPV4_HEADER, _IPV6_HEADER, _UDP_HEADER, _ICMP_HEADER = 20, 40, 8, 8
_TCP, _UDP, _ICMP, _ICMPV6 = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
_EXTENSIONS = frozenset({0, 43, 60, 135})  # hop-by-hop, routing, destination options, mobility
_FRAGMENT = 44
_MAX_EXTENSIONS = 8
# What the kernel says by itself: errors, replies to echoes, neighbours, routers, multicast groups.
_KERNEL_ICMP = frozenset({0, 3, 4, 5, 11, 12, 14, 18})
_KERNEL_ICMPV6 = frozenset({1, 2, 3, 4, 129, 130, 131, 132, 133, 134, 135, 136, 137, 143})
_NAMES = {_UDP: "udp", _ICMP: "icmp", _ICMPV6: "icmpv6"}


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """One packet as it was sent."""

    protocol: str
    source: str
    destination: str
    source_port: int = 0
    port: int = 0
    payload: bytes


def parse_packet(ethertype: int, data: bytes) -> Packet | None:
    """Parse an IP packet.

    Returns:
        The packet, or None when it is TCP or something that the kernel says by itself.

    Raises:
        ValueError: It is no IP packet, or cut off inside its headers.
    """
    if ethertype == ETH_P_IP:
        source, destination, protocol, payload, fragment = _ipv4(data)
    elif ethertype == ETH_P_IPV6:
        source, destination, protocol, payload, fragment = _ipv6(data)
    else:
        raise ValueError("not an IP packet")
    if protocol == _TCP:
        return None
    name = _NAMES.get(protocol, str(protocol))
    if fragment:
        # A later fragment has no header of the transport.
        return Packet(protocol=name, source=source, destination=destination, payload=payload)
    if protocol == _UDP:
        return _udp(source, destination, payload)
    if protocol in (_ICMP, _ICMPV6):
        if payload[:1] and payload[0] in (_KERNEL_ICMP if protocol == _ICMP else _KERNEL_ICMPV6):
            return None
        payload = payload[_ICMP_HEADER:]
    return Packet(protocol=name, source=source, destination=destination, payload=payload)


def _udp(source: str, destination: str, data: bytes) -> Packet:
    if len(data) < _UDP_HEADER:
        raise ValueError("cut off in the UDP header")
    return Packet(
        protocol="udp",
        source=source,
        destination=destination,
        source_port=int.from_bytes(data[:2], "big"),
        port=int.from_bytes(data[2:4], "big"),
        payload=data[_UDP_HEADER:],
    )


def _ipv4(data: bytes) -> tuple[str, str, int, bytes, bool]:
    if len(data) < _IPV4_HEADER or data[0] >> 4 != 4:  # noqa: PLR2004 - the version
        raise ValueError("cut off in the IPv4 header")
    header = (data[0] & 0x0F) * 4
    total = int.from_bytes(data[2:4], "big") or len(data)
    if not _IPV4_HEADER <= header <= len(data):
        raise ValueError("a wrong length of the IPv4 header")
    fragment = bool(int.from_bytes(data[6:8], "big") & 0x1FFF)
    source, destination = ipaddress.IPv4Address(data[12:16]), ipaddress.IPv4Address(data[16:20])
    return str(source), str(destination), data[9], data[header:total], fragment


def _ipv6(data: bytes) -> tuple[str, str, int, bytes, bool]:
    if len(data) < _IPV6_HEADER or data[0] >> 4 != 6:  # noqa: PLR2004 - the version
        raise ValueError("cut off in the IPv6 header")
    protocol, at, fragment = data[6], _IPV6_HEADER, False
    for _ in range(_MAX_EXTENSIONS):
        extension = data[at : at + 8]
        if protocol in _EXTENSIONS and len(extension) == 8:  # noqa: PLR2004 - the least extension
            protocol, at = extension[0], at + 8 + extension[1] * 8
        elif protocol == _FRAGMENT and len(extension) == 8:  # noqa: PLR2004
            fragment = bool(int.from_bytes(extension[2:4], "big") & 0xFFF8)
            protocol, at = extension[0], at + 8
        else:
            break
    source, destination = ipaddress.IPv6Address(data[8:24]), ipaddress.IPv6Address(data[24:40])
    return str(source), str(destination), protocol, data[at:], fragment
