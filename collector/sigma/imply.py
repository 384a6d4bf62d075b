"""Whether what one condition matches, another matches too, as far as their form shows it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import SigmaCasedString, SigmaRegularExpression, SigmaString

from collector.sigma.strings import glob_of


class All(NamedTuple):
    """Every part holds."""

    parts: frozenset[Form]


class Any(NamedTuple):
    """A part holds."""

    parts: frozenset[Form]


class Not(NamedTuple):
    """The part does not hold."""

    part: Form


class Leaf(NamedTuple):
    """A test of a field, or of all fields."""

    field: str | None
    kind: str
    value: str
    pieces: tuple[str, ...] = ()
    """Of a string without `?`: what stands between `*`, in lower case."""


Form: TypeAlias = "All | Any | Not | Leaf"


def form(node: object) -> Form:
    """Give a condition's form: equal for two that say the same in another order.

    Args:
        node: A condition tree.

    Returns:
        Its form.
    """
    match node:
        case ConditionFieldEqualsValueExpression():
            return _leaf(node.field, node.value)
        case ConditionAND():
            return All(frozenset(map(form, node.args)))
        case ConditionOR():
            return Any(frozenset(map(form, node.args)))
        case ConditionNOT():
            return Not(form(node.args[0]))
        case ConditionValueExpression():
            return _leaf(None, node.value)
        case _:
            return Leaf(None, type(node).__name__, repr(node))


def _leaf(field: str | None, value: object) -> Leaf:
    if isinstance(value, SigmaString):
        cased = isinstance(value, SigmaCasedString)
        glob = glob_of(value, cased=False)
        exact = glob_of(value, cased=True) if cased else glob
        return Leaf(field, "cased" if cased else "string", repr(exact.pieces), glob.plain or ())
    if isinstance(value, SigmaRegularExpression):
        return Leaf(field, "re", f"{value.regexp.original!r} {sorted(str(flag) for flag in value.flags)}")
    return Leaf(field, type(value).__name__, repr(value))


def implies(one: Form, other: Form) -> bool:
    """Say whether one condition holds only where another holds.

    Args:
        one: A condition.
        other: Another.

    Returns:
        True when the form shows it; False when it does not, which proves nothing.
    """
    return one == other or _by_parts(one, other)


def _by_parts(one: Form, other: Form) -> bool:
    found = False
    match one, other:
        case Any(), _:
            found = all(implies(part, other) for part in one.parts)
        case _, All():
            found = all(implies(one, part) for part in other.parts)
        case All(), Any():
            found = any(implies(part, other) for part in one.parts) or any(implies(one, part) for part in other.parts)
        case All(), _:
            found = any(implies(part, other) for part in one.parts)
        case _, Any():
            found = any(implies(one, part) for part in other.parts)
        case Not(), Not():
            found = implies(other.part, one.part)
        case Leaf(), Leaf() if one.field == other.field and other.kind == "string":
            found = bool(one.pieces) and _narrower(one.pieces, other.pieces)
        case _:
            pass
    return found


def _narrower(mine: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether every string of one pattern is one of another, for the usual shapes of patterns."""
    match theirs:
        case (_,):
            return mine == theirs
        case (prefix, suffix):
            ends = mine[0].startswith(prefix) and mine[-1].endswith(suffix)
            return ends and (len(mine) > 1 or len(mine[0]) >= len(prefix) + len(suffix))
        case ("", needle, ""):
            return any(needle in piece for piece in mine)
        case _:
            return False
