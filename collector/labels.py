"""Puts together again what was sent in pieces over the labels of many DNS names."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_NAMES: Final = 4096
"""Most different names that are joined with others; a run that asks for more says so in its limits."""
_MAX_DEPTH: Final = 8
_NUMBER: Final = r"[A-Za-z]?(\d{1,5})"
_LABEL: Final = re.compile(_NUMBER)
"""A label that only numbers the piece: `0.`, `p12.`."""
_BEFORE: Final = re.compile(_NUMBER + "[-_]")
_AFTER: Final = re.compile("[-_]" + _NUMBER + "$")
"""A number joined to the piece: `0-...`, `...-12`."""

_Labels: TypeAlias = tuple[str, ...]
_Piece: TypeAlias = tuple[int | None, str]
"""The number a name gives its piece, if any, and the piece."""


@dataclass(frozen=True, slots=True)
class Join:
    """Pieces of several names (or of one) in order, as one text."""

    text: str
    starts: tuple[int, ...]
    """Where each piece begins in `text`."""
    names: tuple[str, ...]
    """The name each piece is from."""

    def owners(self, start: int, end: int) -> tuple[str, ...]:
        """The names whose pieces make up `text[start:end]`."""
        return self.names[bisect_right(self.starts, start) - 1 : bisect_right(self.starts, end - 1)]


def joins(names: Sequence[str]) -> Iterator[Join]:
    """Yield every way in which pieces below a common parent may belong together.

    Args:
        names: Different names in the order of asking; beyond `MAX_NAMES` they are not joined with others.

    Yields:
        Joins in a fixed order; the parent's own labels (at least two) are in none.
    """
    groups: dict[_Labels, list[tuple[str, _Labels]]] = {}
    for name in names[:MAX_NAMES]:
        labels = tuple(name.split("."))
        for depth in range(2, min(len(labels), _MAX_DEPTH + 2)):
            groups.setdefault(tuple(map(str.lower, labels[-depth:])), []).append((name, labels[:-depth]))
    seen: set[str] = set()
    for members in groups.values():
        for reading in _READINGS:
            pieces = [(name, *reading(labels)) for name, labels in members]
            for join in _orders(pieces):
                if join.text not in seen:
                    seen.add(join.text)
                    yield join


def _orders(pieces: list[tuple[str, int | None, str]]) -> Iterator[Join]:
    """Join pieces as they came and, when each has a number, by number."""
    yield _join([(name, piece) for name, _, piece in pieces])
    numbered = [(number, name, piece) for name, number, piece in pieces if number is not None]
    if len(numbered) == len(pieces):
        yield _join([(name, piece) for _, name, piece in sorted(numbered, key=lambda item: item[0])])


def _join(pieces: list[tuple[str, str]]) -> Join:
    pieces = [(name, piece) for name, piece in pieces if piece]
    starts = accumulate((len(piece) for _, piece in pieces), initial=0)
    return Join("".join(piece for _, piece in pieces), tuple(starts)[:-1], tuple(name for name, _ in pieces))


def _whole(labels: _Labels) -> _Piece:
    return None, "".join(labels)


def _first_label_numbers(labels: _Labels) -> _Piece:
    number = _LABEL.fullmatch(labels[0])
    return (int(number[1]), "".join(labels[1:])) if number else _whole(labels)


def _last_label_numbers(labels: _Labels) -> _Piece:
    number = _LABEL.fullmatch(labels[-1])
    return (int(number[1]), "".join(labels[:-1])) if number else _whole(labels)


def _number_before(labels: _Labels) -> _Piece:
    number = _BEFORE.match(labels[0])
    return (int(number[1]), "".join(labels)[number.end() :]) if number else _whole(labels)


def _number_after(labels: _Labels) -> _Piece:
    text = "".join(labels)
    number = _AFTER.search(text)
    return (int(number[1]), text[: number.start()]) if number else _whole(labels)


def _second_label(labels: _Labels) -> _Piece:
    return None, labels[1] if len(labels) > 1 else ""


def _third_label(labels: _Labels) -> _Piece:
    return None, labels[2] if len(labels) > 2 else ""  # noqa: PLR2004 - the third


_READINGS: Final = (
    _whole,
    _first_label_numbers,
    _last_label_numbers,
    _number_before,
    _number_after,
    _second_label,
    _third_label,
)
"""The ways we know of writing a piece, and perhaps its number, into the labels below the parent."""
