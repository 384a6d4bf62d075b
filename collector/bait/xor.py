"""Finds the key of a single-byte xor around other encodings, from what is known of the data below it."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from collector.bait.blob import Blob, Budget, Span
from collector.bait.match import neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS: Final = 8
"""Most keys that are tried on one piece."""
_COST: Final = 1024
"""What telling the alphabet of a piece costs of a budget."""
_SAMPLE: Final = 4096
"""Bytes from the middle of a piece that tell its alphabet."""
_FEWEST: Final = 10
"""Different bytes that an alphabet must show for its key to be told."""
_ARMOUR: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=%\\:, .~\r\n")
"""What encodings that write bytes as text are made of."""
_KEYS_OF: Final = tuple(frozenset(byte ^ char for char in _ARMOUR) - {0} for byte in range(256))
"""For each byte the keys below which it may be of that."""
_ZLIB: Final = frozenset((0x78 ^ flags) for flags in (0x01, 0x5E, 0x9C, 0xDA))
_SHORTEST: Final = 24
"""Bytes of the shortest piece that is looked at."""
_MAGICS: Final = (
    *(b"\x1f\x8b\x08\0", b"\x1f\x8b\x08\x08", b"BZh91AY", b"\xfd7zXZ\0"),
    *(b"\x28\xb5\x2f\xfd", b"PK\3\4\x14", b"]\0\0\x80\0"),
)
"""How compressed data and archives begin."""
_FIRST_BYTE: Final = {neighbours(magic): magic[0] for magic in _MAGICS}
_MAGIC: Final = re.compile(b"|".join(map(re.escape, sorted(_FIRST_BYTE))))


def unxored(blob: Blob, budget: Budget) -> Iterator[Blob]:
    """Yield a blob's pieces without their xor, where a key can be told.

    It can when compressed data with a header stands below the xor, anywhere; or when all of a piece, or its middle
    half, is text of an encoding such as base64.

    Args:
        blob: Any bytes.
        budget: Of the message.
    """
    magics = _by_magic(blob.data)
    made: list[tuple[Span, bytes]] = []
    for start, piece in blob.pieces():
        end = start + len(piece)
        first, last = bisect_left(magics, (start,)), bisect_left(magics, (end,))
        keys = list(dict.fromkeys(key for _, key in magics[first:last]))
        budget.exceeded |= len(keys) > _KEYS
        if len(piece) >= _SHORTEST and budget.spend(_COST):
            keys += [*_by_zlib(piece), *_by_alphabet(piece)]
        for key in keys[:_KEYS]:
            if not budget.spend(len(piece)):
                break
            made.append((blob.root(start, end), piece.translate(bytes(byte ^ key for byte in range(256)))))
    if made:
        yield Blob.made(made)


def _by_magic(data: bytes) -> list[tuple[int, int]]:
    """Places of what may be the beginning of compressed data below a xor, and the key."""
    xored = neighbours(data)
    found = ((match.start(), data[match.start()] ^ _FIRST_BYTE[match.group()]) for match in _MAGIC.finditer(xored))
    return [(at, key) for at, key in found if key]


def _by_zlib(piece: bytes) -> Iterator[int]:
    if piece[0] ^ piece[1] in _ZLIB and piece[0] != 0x78:  # noqa: PLR2004 - how zlib's data begins
        yield piece[0] ^ 0x78


def _by_alphabet(piece: bytes) -> list[int]:
    """Keys that make the piece text of an encoding; none when too many would, as of few different bytes."""
    quarter = len(piece) // 4
    seen = set(piece[quarter : len(piece) - quarter][:_SAMPLE])
    if not _FEWEST <= len(seen) <= len(_ARMOUR) or seen <= _ARMOUR:
        return []
    keys = frozenset.intersection(*(_KEYS_OF[byte] for byte in seen))
    return sorted(keys) if len(keys) <= _KEYS else []
