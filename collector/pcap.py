"""Reads packet captures, pcap and pcapng, by hand: faster than a library that makes objects of everything.

Total: whatever the bytes, nothing is raised. What is not understood ends the reading and is told in `broken`; what was
read before stands.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BLOCK: Final = 16 << 20
"""Longest packet or block in bytes."""
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_SECTION_BYTES: Final = _SECTION.to_bytes(4, "big")
_BIG_NG: Final = bytes.fromhex("1a2b3c4d")
_MAGICS: Final = {
    bytes.fromhex("d4c3b2a1"): ("<", 1_000_000),
    bytes.fromhex("a1b2c3d4"): (">", 1_000_000),
    bytes.fromhex("4d3cb2a1"): ("<", 1_000_000_000),
    bytes.fromhex("a1b23c4d"): (">", 1_000_000_000),
}
_FILE_HEADER, _FRAME, _MIN_BLOCK, _ENHANCED_HEAD = 24, 16, 12, 20
_RESOLUTION: Final = 9
"""Option of an interface: how its times count."""
_MICRO: Final = 1e-6
_BITS: Final = 0x80
_DEFAULT_RESOLUTION: Final = 6
_MAX_INTERFACES: Final = 4096


class Frame(NamedTuple):
    """One packet as it stands in a capture."""

    ts: float
    """Seconds since the epoch; 0 where the capture does not say."""
    interface: int
    """Number of the interface in its section, from 0."""
    link: int
    """Type of link: 1 Ethernet, 101 raw IP, ..."""
    length: int
    """Bytes that the packet had."""
    data: bytes
    """Those that were kept."""


class _Interface(NamedTuple):
    link: int
    scale: float
    """Seconds of one tick."""
    snap: int
    """Most bytes kept of a packet; 0: all."""


class Pcap:
    """A capture, read once from its beginning.

    Args:
        chunks: Its bytes, in pieces of any size.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0
        self.broken = ""
        """Why reading ended before the end of the bytes; empty when it did not."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the packets in the order of the file."""
        if not self._need(4):
            self.broken = "" if not self._buffer else "it is too short for a capture"
            return
        magic = self._buffer[:4]
        if magic == _SECTION_BYTES:
            yield from self._blocks()
        elif magic in _MAGICS:
            yield from self._frames(*_MAGICS[magic])
        else:
            self.broken = "it does not begin as a capture"

    def _need(self, size: int) -> bool:
        """Have `size` bytes in the buffer from the position on; False at the end of the bytes."""
        have = len(self._buffer) - self._at
        if have >= size:
            return True
        # Joined once, however small the pieces are.
        pieces = [self._buffer[self._at :]]
        while have < size and (chunk := next(self._chunks, None)) is not None:
            pieces.append(chunk)
            have += len(chunk)
        self._buffer, self._at = b"".join(pieces), 0
        return have >= size

    def _frames(self, order: str, unit: int) -> Iterator[Frame]:
        if not self._need(_FILE_HEADER):
            self.broken = "it ends in its header"
            return
        link = Struct(f"{order}I").unpack_from(self._buffer, 20)[0] & 0xFFFF
        self._at = _FILE_HEADER
        # A named tuple's own constructor costs as much as all the rest.
        make = tuple.__new__
        head, scale, limit = Struct(f"{order}IIII").unpack_from, 1 / unit, MAX_BLOCK
        while True:
            buffer, at, end = self._buffer, self._at, len(self._buffer) - _FRAME
            # As many as the buffer holds, without a call for each.
            while at <= end:
                seconds, parts, kept, length = head(buffer, at)
                after = at + _FRAME + kept
                if kept > limit or after > end + _FRAME:
                    break
                yield make(Frame, (seconds + parts * scale, 0, link, length, buffer[at + _FRAME : after]))
                at = after
            self._at = at
            if not self._need(_FRAME):
                break
            kept = head(self._buffer, self._at)[2]
            if kept > limit:
                self.broken = "a packet is longer than packets are"
                return
            if not self._need(_FRAME + kept):
                break
        if len(self._buffer) > self._at:
            self.broken = "it ends in the middle of a packet"

    def _blocks(self) -> Iterator[Frame]:
        order, interfaces, make = "<", list[_Interface](), tuple.__new__
        words, enhanced = Struct("<II").unpack_from, Struct("<IIIII").unpack_from
        while self._need(_MIN_BLOCK):
            buffer, at = self._buffer, self._at
            if buffer[at : at + 4] == _SECTION_BYTES:
                order, interfaces = ">" if buffer[at + 8 : at + 12] == _BIG_NG else "<", []
                words, enhanced = Struct(f"{order}II").unpack_from, Struct(f"{order}IIIII").unpack_from
            kind, size = words(buffer, at)
            if not _MIN_BLOCK <= size <= MAX_BLOCK or size % 4:
                self.broken = "a block has an impossible length"
                return
            if not self._need(size):
                break
            buffer, at = self._buffer, self._at
            self._at = at + size
            if kind == _ENHANCED and size >= _MIN_BLOCK + _ENHANCED_HEAD:
                number, high, low, kept, length = enhanced(buffer, at + 8)
                if number >= len(interfaces) or kept > size - _MIN_BLOCK - _ENHANCED_HEAD:
                    self.broken = "a packet is longer than its block, or of an unknown interface"
                    return
                link, scale, _ = interfaces[number]
                data = buffer[at + 28 : at + 28 + kept]
                yield make(Frame, ((high << 32 | low) * scale, number, link, length, data))
            elif kind == _INTERFACE and len(interfaces) < _MAX_INTERFACES:
                interfaces.append(_interface(buffer[at : at + size], order))
            elif kind == _SIMPLE and interfaces and size >= _MIN_BLOCK + 4:
                yield _simple(buffer[at : at + size], words(buffer, at + 8)[0], interfaces[0])
        if len(self._buffer) > self._at:
            self.broken = "it ends in the middle of a block"


def _simple(block: bytes, length: int, interface: _Interface) -> Frame:
    """A packet without a time, of the first interface."""
    kept = min(length, interface.snap or length, len(block) - _MIN_BLOCK - 4)
    return Frame(0.0, 0, interface.link, length, block[12 : 12 + kept])


def _interface(block: bytes, order: str) -> _Interface:
    if len(block) < _MIN_BLOCK + 8:
        return _Interface(0, _MICRO, 0)
    link, _, snap = Struct(f"{order}HHI").unpack_from(block, 8)
    at, option, exponent = 16, Struct(f"{order}HH").unpack_from, _DEFAULT_RESOLUTION
    while at + 4 <= len(block) - 4:
        code, size = option(block, at)
        if code == 0 or at + 4 + size > len(block) - 4:
            break
        if code == _RESOLUTION and size:
            exponent = block[at + 4]
        at += 4 + size + -size % 4
    scale = 2.0 ** -(exponent & 0x7F) if exponent & _BITS else 10.0**-exponent
    return _Interface(link, scale, snap)
