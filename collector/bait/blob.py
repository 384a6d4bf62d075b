"""Bytes to search, and where in the message they come from; and how much may be made of a message."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GAP: Final = b"\0\xff\0"
"""Stands between pieces: no encoding goes on across it."""

PIECE: Final = 64
"""What a piece costs of a budget besides its bytes: a thousand short ones take longer than one long one."""

Span: TypeAlias = tuple[int, int]
"""Start and end."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Pieces of bytes as one text, so that a thousand short ones are searched as fast as a long one."""

    data: bytes
    starts: tuple[int, ...]
    """Where each piece begins in `data`."""
    roots: tuple[Span, ...] | None = None
    """For each piece, the part of the message it was made of; None when `data` is the message."""

    @classmethod
    def message(cls, parts: Iterable[bytes]) -> Blob:
        """Make the blob of a message as it was sent, in one or several parts."""
        data, starts = _joined(parts)
        return cls(data, starts)

    @classmethod
    def made(cls, pieces: Iterable[tuple[Span, bytes]]) -> Blob:
        """Make a blob of decoded pieces, each with the part of the message it was made of."""
        kept = [(root, piece) for root, piece in pieces if piece]
        data, starts = _joined(piece for _, piece in kept)
        return cls(data, starts, tuple(root for root, _ in kept))

    def root(self, start: int, end: int) -> Span:
        """The part of the message that `data[start:end]` was made of."""
        if self.roots is None:
            return start, end
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1) - 1
        return self.roots[first][0], self.roots[last][1]

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield each piece with its start in `data`."""
        ends = [*(start - len(GAP) for start in self.starts[1:]), len(self.data)]
        # Nothing may be left of a text once its soft line breaks are undone.
        for start, end in zip(self.starts, ends if self.starts else (), strict=True):
            yield start, self.data[start:end]


def _joined(parts: Iterable[bytes]) -> tuple[bytes, tuple[int, ...]]:
    kept = list(parts)
    starts, at = [], 0
    for part in kept:
        starts.append(at)
        at += len(part) + len(GAP)
    return GAP.join(kept), tuple(starts)


class Budget:
    """How many bytes may still be read and made while a message is decoded. What is beyond is noted, not done."""

    def __init__(self, allowed: int) -> None:
        """Allow so many bytes."""
        self.left = max(allowed, 0)
        self.exceeded = False
        """Something was not looked at."""

    def spend(self, size: int) -> bool:
        """Take `size` bytes; False, and noted, when that is more than is left."""
        if size > self.left:
            self.exceeded = True
            return False
        self.left -= size
        return True
