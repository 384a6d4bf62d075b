"""A Sigma condition as one Python function over an event's fields.

pySigma parses; here its condition tree is compiled, once per rule. What it yields that cannot be evaluated over
single events is refused with a reason rather than taken for "does not match".
"""

from __future__ import annotations

import operator
from functools import partial
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
)

from collector.errors import RuleError
from collector.sigma.fields import getters_by_kind, searched_by_kind
from collector.sigma.plan import possible_kinds, selective_first
from collector.sigma.regex import regex_test
from collector.sigma.selection import Predicate, Selection
from collector.sigma.strings import Test, any_of, glob_of
from collector.sigma.view import View, absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sigma.rule import SigmaRule
    from sigma.types import SigmaType

    from collector.events import Event


def condition_trees(rule: SigmaRule) -> tuple[object, ...]:
    """Parse the conditions of a rule.

    Args:
        rule: A rule that pySigma has parsed.

    Returns:
        The trees of its conditions; where it has several, any of them will do.

    Raises:
        sigma.exceptions.SigmaError: A condition does not parse, or names a selection that does not exist.
    """
    return tuple(condition.parsed for condition in rule.detection.parsed_condition)


def compile_trees(trees: Sequence[object], kinds: Iterable[type[Event]]) -> Selection:
    """Compile the conditions of a rule.

    Args:
        trees: Its condition trees, of which any may hold.
        kinds: The kinds of events in its category.

    Returns:
        Which events match; of the kinds only those that can.

    Raises:
        RuleError: A condition uses something that cannot be evaluated.
    """
    getters = getters_by_kind()
    possible = possible_kinds(trees, {kind: getters[kind] for kind in kinds}, compile_condition)
    return Selection(possible, _any([compile_condition(tree) for tree in trees]), tuple(trees))


def compile_condition(node: object) -> Predicate:
    """Compile a condition tree as pySigma gives it after postprocessing.

    Args:
        node: Root of the tree.

    Returns:
        A function that says whether an event matches.

    Raises:
        RuleError: The tree has something in it that cannot be evaluated.
    """
    match node:
        case ConditionFieldEqualsValueExpression():
            return _field_test(node.field, node.value)
        case ConditionAND():
            return _all([compile_condition(child) for child in selective_first(node.args)])
        case ConditionOR():
            return _any(_alternatives(node.args))
        case ConditionNOT():
            inner = compile_condition(node.args[0])
            return lambda view: not inner(view)
        case ConditionValueExpression():
            return _keyword_test(node.value)
        case _:
            raise RuleError("the condition is empty; name at least one selection in it")


def _alternatives(nodes: Sequence[object]) -> list[Predicate]:
    """Compile the branches of an OR; strings for the same field, as lists give them, become one test."""
    strings: dict[tuple[str, bool], list[SigmaString]] = {}
    others: list[Predicate] = []
    for node in nodes:
        if isinstance(node, ConditionFieldEqualsValueExpression) and isinstance(node.value, SigmaString):
            strings.setdefault((node.field, isinstance(node.value, SigmaCasedString)), []).append(node.value)
        else:
            others.append(compile_condition(node))
    return [_strings_test(field, values, cased=cased) for (field, cased), values in strings.items()] + others


def _all(parts: list[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]

    def predicate(view: View) -> bool:
        for part in parts:  # noqa: SIM110 - this and the next are the innermost loops of a run; a generator is slower
            if not part(view):
                return False
        return True

    return predicate


def _any(parts: list[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]

    def predicate(view: View) -> bool:
        for part in parts:  # noqa: SIM110 - this and the next are the innermost loops of a run; a generator is slower
            if part(view):
                return True
        return False

    return predicate


def _field_test(field: str, value: SigmaType) -> Predicate:
    # A cased string is a string and a part of a timestamp is a number, hence the order.
    makers: tuple[tuple[type[SigmaType], Callable[[str, Any], Predicate]], ...] = (
        (SigmaString, lambda field, value: _strings_test(field, [value], cased=isinstance(value, SigmaCasedString))),
        (SigmaTimestampPart, _refuse_time),
        (SigmaNumber, lambda field, value: _scalar_test(field, value.number)),
        (SigmaBool, lambda field, value: _scalar_test(field, value.boolean)),
        (SigmaNull, lambda field, _: _presence_test(field, present=False)),
        (SigmaExists, lambda field, value: _presence_test(field, present=value.exists)),
        (SigmaRegularExpression, lambda field, value: _text_test(field, regex_test(value))),
        (SigmaCIDRExpression, lambda field, value: _text_test(field, partial(_in_network, value.network))),
        (SigmaCompareExpression, _compare_test),
        (SigmaFieldReference, _reference_test),
        (SigmaExpansion, lambda field, value: _any([_field_test(field, inner) for inner in value.values])),
    )
    for kind, make in makers:
        if isinstance(value, kind):
            return make(field, value)
    raise RuleError(f"{field}: {type(value).__name__} cannot be evaluated over events; rewrite the selection")


def _refuse_time(field: str, _: SigmaTimestampPart) -> Predicate:
    raise RuleError(f"{field}: events carry no calendar time here; drop the modifier")


def _presence_test(field: str, *, present: bool) -> Predicate:
    return lambda view: absent(view.value(field)) is not present


def _strings_test(field: str, values: Iterable[SigmaString], *, cased: bool) -> Predicate:
    test = any_of([glob_of(value, cased=cased) for value in values])
    if cased:
        return _text_test(field, test)

    def predicate(view: View) -> bool:
        for text in view.folded(field):  # noqa: SIM110
            if test(text):
                return True
        return False

    return predicate


def _text_test(field: str, test: Test) -> Predicate:
    def predicate(view: View) -> bool:
        for text in view.texts(field):  # noqa: SIM110
            if test(text):
                return True
        return False

    return predicate


def _scalar_test(field: str, wanted: float | bool) -> Predicate:
    text = str(wanted).lower()

    def predicate(view: View) -> bool:
        value = view.value(field)
        # A boolean is a number in Python, but not in a rule.
        if isinstance(value, bool) or isinstance(wanted, bool) or not isinstance(value, int):
            return text in view.folded(field)
        return value == wanted

    return predicate


def _in_network(network: IPv4Network | IPv6Network, text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None and isinstance(network, IPv4Network):
        address = address.ipv4_mapped
    return address in network


def _compare_test(field: str, value: SigmaCompareExpression) -> Predicate:
    operators = {
        CompareOperators.LT: operator.lt,
        CompareOperators.LTE: operator.le,
        CompareOperators.GT: operator.gt,
        CompareOperators.GTE: operator.ge,
        CompareOperators.NEQ: operator.ne,
    }
    compare, limit = operators[value.op], value.number.number
    return lambda view: any(compare(number, limit) for number in _numbers(view.texts(field)))


def _numbers(texts: Iterable[str]) -> Iterable[float]:
    for text in texts:
        try:
            yield float(text)
        except ValueError:
            continue


def _reference_test(field: str, value: SigmaFieldReference) -> Predicate:
    """Compare two fields; pySigma marks `contains` as both `starts_with` and `ends_with`."""
    relations: dict[tuple[bool, bool], Callable[[str, str], bool]] = {
        (False, False): operator.eq,
        (True, False): str.startswith,
        (False, True): str.endswith,
        (True, True): operator.contains,
    }
    related, other = relations[value.starts_with, value.ends_with], value.field
    return lambda view: any(related(mine, yours) for mine in view.folded(field) for yours in view.folded(other))


def _keyword_test(value: SigmaType) -> Predicate:
    """Search every field for a value that is bound to none."""
    searched = searched_by_kind()
    match value:
        case SigmaExpansion():
            return _any([_keyword_test(inner) for inner in value.values])
        case SigmaRegularExpression():
            regex = regex_test(value)
            return lambda view: any(regex(text) for name in searched[type(view.event)] for text in view.texts(name))
        case SigmaNumber() if not isinstance(value, SigmaTimestampPart):
            value = SigmaString(str(value.number))
        case SigmaString():
            pass
        case _:
            raise RuleError(f"{type(value).__name__} cannot be searched for without a field; name the field")
    cased = isinstance(value, SigmaCasedString)
    test = any_of([glob_of(value, cased=cased, anywhere=True)])
    if cased:
        return lambda view: any(test(text) for name in searched[type(view.event)] for text in view.texts(name))
    return lambda view: any(test(text) for name in searched[type(view.event)] for text in view.folded(name))
