"""Builds captures, pcap and pcapng, for tests."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RAW_IP = 101


def pcap(packets: Sequence[tuple[int, bytes]], order: str = "<", *, nano: bool = False, link: int = RAW_IP) -> bytes:
    """A classic capture; times in microseconds since the epoch."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    found = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for at, data in packets:
        parts = at % 1_000_000 * (1000 if nano else 1)
        found += struct.pack(f"{order}IIII", at // 1_000_000, parts, len(data), len(data)) + data
    return found


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of a pcapng."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(interfaces: int = 2, order: str = "<") -> bytes:
    """The beginning of a pcapng."""
    head = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    return head + block(1, struct.pack(f"{order}HHI", RAW_IP, 0, 0), order) * interfaces


def packet(interface: int, at: int, data: bytes, order: str = "<") -> bytes:
    """A packet of a pcapng; `at` in microseconds since the epoch."""
    head = struct.pack(f"{order}IIIII", interface, at >> 32, at & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)


def ipv4(protocol: int, source: str, destination: str, payload: bytes, options: bytes = b"") -> bytes:
    """A packet without checksums."""
    ends = b"".join(bytes(map(int, end.split("."))) for end in (source, destination))
    length = 20 + len(options) + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, length, 0, 0, 64, protocol, 0)
    return head + ends + options + payload


def ipv6(protocol: int, payload: bytes) -> bytes:
    """A packet from and to the loopback address."""
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + (bytes(15) + b"\1") * 2 + payload


def syn(port: int, other: int, number: int = 1, flags: int = 2) -> bytes:
    """A TCP header."""
    return struct.pack("!HHIIBBHHH", port, other, number, 0, 5 << 4, flags, 1024, 0, 0)
