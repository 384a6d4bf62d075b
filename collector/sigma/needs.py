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

from collector.sigma.regex import pieces_of
from collector.sigma.strings import glob_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigma.types import SigmaType

COARSE: Final = frozenset({"Phase", "Actor", "Errno", "Kind", "HostRole", "Initiated", "Protocol", "User", "Created"})
"""Fields that many events agree in."""
_DEAR: Final = frozenset({"Ancestors", "ParentImage", "ParentCommandLine", "CommandLine", "Image", "Payload", "Body"})
"""Fields that take a search for the process, or are long."""


class Need(NamedTuple):
    """A piece that the field's text, in lower case, must have."""

    field: str
    text: str
    first: bool
    """The text begins with it."""
    last: bool
    """The text ends with it; with `first` it is the whole text."""


Needs: TypeAlias = "frozenset[Need] | None"
"""At least one of these; None when there is nothing that one could look for."""


def needs_of(trees: Iterable[object]) -> Needs:
    """Find what events must have so that any of several conditions can hold.

    Args:
        trees: Condition trees.

    Returns:
        The pieces of which one must be there.
    """
    return _any([_needs(tree) for tree in trees])


def _needs(node: object) -> Needs:
    match node:
        case ConditionAND():
            found = [needs for needs in map(_needs, node.args) if needs is not None]
            return min(found, key=_cost) if found else None
        case ConditionOR():
            return _any([_needs(child) for child in node.args])
        case ConditionFieldEqualsValueExpression():
            return _value(node.field, node.value)
        case _:
            return None


def _any(parts: Sequence[Needs]) -> Needs:
    together: set[Need] = set()
    for part in parts:
        if part is None:
            return None
        together |= part
    return frozenset(together)


def _cost(needs: frozenset[Need]) -> tuple[bool, int, bool, int, list[Need]]:
    """Rate what is looked for: rare pieces in cheap fields are best, the fewer the better."""
    coarse = any(need.field in COARSE or not need.text for need in needs)
    shortest = min((len(need.text) for need in needs), default=0)
    dear = any(need.field in _DEAR for need in needs)
    return coarse, -min(shortest, 4), dear, len(needs), sorted(needs)


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
            found = _pieces_of_regex(field, str(value.regexp))
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


def _pieces_of_regex(field: str, regex: str) -> Needs:
    pieces = pieces_of(regex)
    return None if pieces is None else frozenset(Need(field, piece, first=False, last=False) for piece in pieces)
