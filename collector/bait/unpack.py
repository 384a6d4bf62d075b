"""Unpacks compressed data wherever it stands: streams and members of archives, whole or cut off, bounded."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from collector.bait.blob import Blob, Budget, Span
from collector.bait.match import latin1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST: Final = 256
"""Bytes that are read before it is believed that something is compressed data."""
_MOST: Final = 1 << 16
"""Bytes that are read at a time of what is."""
_SHORTEST: Final = 24
"""Bytes of the shortest piece that is tried: a value compressed alone is longer."""
_TRIALS: Final = 20_000
"""Beginnings of compressed data that are tried in one blob."""
_MEMORY: Final = 96 << 20
"""Bytes of memory that a stream may ask for: what the strongest usual setting of xz needs."""
_BEGINNINGS: Final = latin1(
    rb"\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\x00|\x28\xb5\x2f\xfd|PK\x03\x04|\x78[\x01\x5e\x9c\xda]"
    rb"|\x5d\x00\x00[\x00-\xff]{2}(?:\xff{8}|[\x00-\xff]{4}\x00{4})"
)
_NAMES: Final = {
    0x1F: "gzip",
    ord("B"): "bz2",
    0xFD: "xz",
    0x28: "zstd",
    ord("P"): "zip",
    0x78: "zlib",
    0x5D: "lzma",
}
"""By the first byte."""
_ZIP_HEADER: Final = struct.Struct("<4x2xHH4x4x4x4xHH")
_ENCRYPTED: Final = 1


class _Decoder(Protocol):
    """What decoders of the standard library have in common."""

    @property
    def eof(self) -> bool:
        """The stream has come to its end."""

    @property
    def unused_data(self) -> bytes:
        """What was given after the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decompress at most so many bytes."""


def members(blob: Blob, budget: Budget) -> Iterator[tuple[str, Blob]]:
    """Yield what the compressed data in a blob holds, one blob for each kind of compression.

    Args:
        blob: Any bytes.
        budget: Of the message: what is read and what comes out both count.
    """
    found: dict[str, list[tuple[Span, bytes]]] = {}
    data, at = blob.data, 0
    for trial, match in enumerate(_BEGINNINGS.finditer(data)):
        if trial >= _TRIALS:
            budget.exceeded = True
            break
        # Inside of what was unpacked there is nothing of its own; archives cannot make us read it twice.
        if match.start() < at:
            continue
        name = _NAMES[data[match.start()]]
        out, end, whole = _read(data, match.start(), name, budget)
        if whole:
            at = end
        if out:
            found.setdefault(name, []).append((blob.root(match.start(), end), out))
    for start, piece in blob.pieces():
        if (out := _headless(piece, budget)) and out:
            found.setdefault("deflate", []).append((blob.root(start, start + len(piece)), out))
    for name, pieces in found.items():
        yield name, Blob.made(pieces)


def _read(data: bytes, start: int, name: str, budget: Budget) -> tuple[bytes, int, bool]:
    if name == "zip":
        return _zip(data, start, budget)
    return _stream(data, start, _DECODERS[name](), budget)


def _zip(data: bytes, start: int, budget: Budget) -> tuple[bytes, int, bool]:
    """Read a member; one that is stored stands in the data as it is, and an encrypted one cannot be read."""
    if start + 30 > len(data):
        return b"", start, False
    flags, method, name_size, extra_size = _ZIP_HEADER.unpack_from(data, start)
    begin = start + 30 + name_size + extra_size
    if flags & _ENCRYPTED:
        return b"", start, False
    decoder = _METHODS.get(method)
    return _stream(data, begin, decoder(), budget) if decoder else (b"", start, False)


def _headless(piece: bytes, budget: Budget) -> bytes:
    """Deflate without a header can only be told by trying: tried is the beginning of each piece that is no text."""
    if len(piece) < _SHORTEST or piece[:16].isascii():
        return b""
    return _stream(piece, 0, _raw_deflate(), budget)[0]


def _stream(data: bytes, start: int, decoder: _Decoder, budget: Budget) -> tuple[bytes, int, bool]:
    """Decompress as far as it goes: what comes out, where the stream ends, and whether it has come to its end."""
    out: list[bytes] = []
    at, step = start, _FIRST
    most = _FIRST if isinstance(decoder, _Zstd) else _MOST
    while at < len(data) and not decoder.eof:
        piece = data[at : at + step]
        if not budget.spend(len(piece)) or not budget.left:
            budget.exceeded = True
            break
        at, step = at + len(piece), min(step * 4, most)
        try:
            made = decoder.decompress(piece, budget.left)
        except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, ValueError, EOFError, MemoryError):
            break
        out.append(made[: budget.left])
        if not budget.spend(len(made)) or not budget.left:
            budget.exceeded = True
            break
    return b"".join(out), at - len(decoder.unused_data), decoder.eof


class _Zstd:
    """Zstandard, which bounds its output only by what it is given: a block of 4 bytes makes at most 128 KiB."""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, _max_length: int) -> bytes:
        return self._decoder.decompress(data)


def _raw_deflate() -> _Decoder:
    return zlib.decompressobj(-15)


_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": lambda: zlib.decompressobj(15),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY),
    "zstd": _Zstd,
}
_METHODS: Final[dict[int, Callable[[], _Decoder]]] = {8: _raw_deflate, 12: bz2.BZ2Decompressor, 93: _Zstd}
"""Compression methods of zip's members, by their numbers in APPNOTE.TXT."""
