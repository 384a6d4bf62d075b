"""Fields with a closed set of values: a pattern that is none of them never matches, and is told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from sigma.conditions import ConditionFieldEqualsValueExpression
from sigma.types import SigmaCasedString, SigmaString

from collector.sigma.evaluate import compile_condition
from collector.sigma.fields import CATEGORIES, COMMON, getters_by_kind
from collector.sigma.plan import possible_kinds
from collector.sigma.strings import any_of, glob_of
from collector.sigma.taxonomy import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collector.events import Event


@cache
def closed_fields() -> Mapping[str, tuple[str, ...]]:
    """Give the values of each field whose values are known beforehand; `*` in one stands for any end."""
    every = (*COMMON, *(it for category in (*CATEGORIES, *FOREIGN) for it in category.fields))
    return MappingProxyType({it.name: it.values for it in every if it.values})


def impossible(leaf: object) -> bool:
    """Say whether a test of a field asks for what the field cannot be.

    Args:
        leaf: A leaf of a condition tree.

    Returns:
        True when no value of the field can match; False when one can, or when nobody knows.
    """
    if not isinstance(leaf, ConditionFieldEqualsValueExpression) or not isinstance(leaf.value, SigmaString):
        return False
    values = closed_fields().get(leaf.field)
    if values is None:
        return False
    cased = isinstance(leaf.value, SigmaCasedString)
    test = any_of([glob_of(leaf.value, cased=cased)])
    wanted = str(leaf.value) if cased else str(leaf.value).lower()
    return not any(
        test(value if cased else value.lower()) or ("*" in value and fnmatchcase(wanted, value)) for value in values
    )


def kinds_that_can(trees: Sequence[object], kinds: Iterable[type[Event]]) -> frozenset[type[Event]]:
    """Find the kinds of events that a rule can match, what closed fields can be taken into account."""
    getters = getters_by_kind()
    return possible_kinds(trees, {kind: getters[kind] for kind in kinds}, compile_condition, impossible)
