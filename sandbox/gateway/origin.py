"""The address a package really dialled, before the namespace redirected the connection to the gateway."""

from __future__ import annotations

import ipaddress
import socket
import struct

import msgspec

_SO_ORIGINAL_DST = 80  # the same number for IP6T_SO_ORIGINAL_DST
_SOCKADDR_IN = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6 = struct.Struct("!2xH4x16s4x")


class Origin(msgspec.Struct, frozen=True):
    """Both ends of a connection as its client sees them."""

    ip: str
    port: int
    peer_port: int


def find_origin(connection: socket.socket) -> Origin:
    """Ask the kernel's connection tracking; without an answer the local address is the dialled one."""
    peer_port = _peer_port(connection)
    for level, form in ((socket.IPPROTO_IP, _SOCKADDR_IN), (socket.IPPROTO_IPV6, _SOCKADDR_IN6)):
        try:
            data = connection.getsockopt(level, _SO_ORIGINAL_DST, form.size)
            port, packed = form.unpack(data)
        except (OSError, struct.error):
            continue
        return Origin(_text(ipaddress.ip_address(packed)), port, peer_port)
    try:
        host, port = connection.getsockname()[:2]
    except OSError:
        return Origin("", 0, peer_port)
    return Origin(_text(ipaddress.ip_address(host.partition("%")[0])), port, peer_port)


def _peer_port(connection: socket.socket) -> int:
    try:
        return int(connection.getpeername()[1])
    except OSError:
        # It went away between the connect and now.
        return 0


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
