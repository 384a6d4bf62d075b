"""What an event must have so that a condition can hold at all: a string in a field, found without trying the condition.

This is a filter, never an answer: whatever it lets through is tried, and what it cannot speak of is always tried.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionOR
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaExpansion,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
)

from collector.sigma.regex import pieces_of, written_with_flags
from collector.sigma.strings import glob_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sigma.types import SigmaType

COARSE: Final = frozenset({"Phase", "Actor", "Errno", "Kind", "HostRole", "Initiated", "Protocol", "User", "Created"})
"""Fields that many events agree in."""
_DEAR: Final = frozenset({"Ancestors", "ParentImage", "ParentCommandLine", "CommandLine", "Image", "Payload", "Body"})
"""Fields that take a search for the process, or are long."""
_USUAL: Final = """
/home/dev/.venv/lib/python3.11/site-packages/package/__pycache__/__init__.cpython-311.pyc
/home/dev/.venv/lib/python3.11/site-packages/package-1.0.dist-info/metadata
~/.venv/lib/python3.11/site-packages/package/module.py
~/.venv/lib/python3.11/site-packages/package/extension.cpython-311-x86_64-linux-gnu.so
/usr/lib/python3.11/encodings/utf_8.py
/lib/x86_64-linux-gnu/libc.so.6
"""
"""What runs are full of: a piece of this is found everywhere."""


class Need(NamedTuple):
    """A piece that the field's text, in lower case, must have."""

    field: str
    text: str
    first: bool
    """The text begins with it."""
    last: bool
    """The text ends with it; with `first` it is the whole text."""


Needs: TypeAlias = "frozenset[Need] | None"
"""At least one of these; without any no event will do; None when there is nothing that one could look for."""
Known: TypeAlias = "Callable[[ConditionFieldEqualsValueExpression], bool | None]"


def needs_of(trees: Iterable[object], known: Known = lambda _leaf: None) -> Needs:
    """Find what events must have so that any of several conditions can hold.

    Args:
        trees: Condition trees.
        known: Says of a leaf whether it holds, where that is clear without seeing an event; else None.

    Returns:
        The pieces of which one must be there.
    """
    return _any([_needs(tree, known) for tree in trees])


def _needs(node: object, known: Known) -> Needs:
    match node:
        case ConditionFieldEqualsValueExpression():
            holds = known(node)
            if holds is not None:
                return None if holds else frozenset()
            return _value(node.field, node.value)
        case ConditionAND():
            return _best(_needs(child, known) for child in node.args)
        case ConditionOR():
            return _any([_needs(child, known) for child in node.args])
        case _:
            return None


def _any(parts: Sequence[Needs]) -> Needs:
    together: set[Need] = set()
    for part in parts:
        if part is None:
            return None
        together |= part
    return frozenset(together)


def _best(parts: Iterable[Needs]) -> Needs:
    found = [part for part in parts if part is not None]
    return min(found, key=_cost) if len(found) > 1 else next(iter(found), None)


def _cost(needs: frozenset[Need]) -> tuple[bool, bool, bool, int, bool, bool, int, list[Need]]:
    """Rate what is looked for: rare pieces in cheap fields are best, the fewer the better; best is what cannot be."""
    coarse = any(need.field in COARSE or not need.text for need in needs)
    usual = any(_is_usual(need) for need in needs)
    shortest = min((len(need.text) for need in needs), default=0)
    loose = not all(need.first or need.last for need in needs)
    dear = any(need.field in _DEAR for need in needs)
    return bool(needs), coarse, usual, -min(shortest, 4), dear, loose, len(needs), sorted(needs)


def _is_usual(need: Need) -> bool:
    word = "\n" * need.first + need.text + "\n" * need.last
    return word in _USUAL


def _value(field: str, value: SigmaType) -> Needs:
    found: Needs = None
    match value:
        case SigmaString():
            need = _piece(field, value)
            found = None if need is None else frozenset({need})
        case SigmaNumber() if not isinstance(value, SigmaTimestampPart):
            found = frozenset({Need(field, str(value.number), first=True, last=True)})
        case SigmaBool():
            found = frozenset({Need(field, str(value.boolean).lower(), first=True, last=True)})
        case SigmaRegularExpression():
            sets = pieces_of(written_with_flags(value))
            found = _best(frozenset(Need(field, *piece) for piece in pieces) for pieces in sets)
        case SigmaExpansion():
            found = _any([_value(field, inner) for inner in value.values])
    return found


def _piece(field: str, value: SigmaString) -> Need | None:
    """Take the longest piece between wildcards."""
    cased = isinstance(value, SigmaCasedString)
    pieces = glob_of(value, cased=False).pieces
    runs: list[Need] = []
    for number, piece in enumerate(pieces):
        position = 0
        for single, run in groupby(piece, key=lambda part: part is None):
            parts = list(run)
            first, end = number == 0 and position == 0, position + len(parts)
            last = number == len(pieces) - 1 and end == len(piece)
            position = end
            if not single:
                runs.append(Need(field, "".join(part for part in parts if part is not None), first, last))
    if not runs:
        # Nothing but wildcards, or the empty string.
        return Need(field, "", first=True, last=True) if pieces == ((),) else None
    best = max(runs, key=lambda need: (len(need.text), need.first + need.last))
    # In lower case some letters depend on their neighbours: what holds of the whole need not hold of a piece.
    return None if cased and not best.text.isascii() else best
