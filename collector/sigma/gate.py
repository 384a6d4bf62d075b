"""What a condition says of an event's setting, by which most rules are out of the question for most events at once.

The setting is kind, phase, actor and errno. A run has few different ones, and hundreds of rules have few gates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR

from collector.sigma.evaluate import compile_condition
from collector.sigma.imply import form
from collector.sigma.plan import fields_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from collector.sigma.view import View

Outcome: TypeAlias = "Callable[[View], bool | None]"
"""Whether a condition holds; None when that depends on more than the setting."""


class Gate(NamedTuple):
    """What a condition says of the setting alone."""

    form: Hashable
    """Equal for gates that say the same."""
    outcome: Outcome


OPEN: Final = Gate(None, lambda _view: None)
"""Says nothing."""


def gate_of(trees: Iterable[object], setting: Collection[str]) -> Gate:
    """Make the gate of a condition.

    Args:
        trees: Condition trees, of which any may hold.
        setting: Names of the fields that depend on the setting alone.
    """
    return _joined([_gate(tree, setting) for tree in trees], decisive=True)


def _gate(node: object, setting: Collection[str]) -> Gate:
    match node:
        case ConditionAND() | ConditionOR():
            parts = [_gate(child, setting) for child in node.args]
            return _joined(parts, decisive=isinstance(node, ConditionOR))
        case ConditionNOT():
            inner = _gate(node.args[0], setting)
            return inner if inner is OPEN else Gate(("not", inner.form), _negated(inner.outcome))
        case ConditionFieldEqualsValueExpression() if all(name in setting for name in fields_in(node)):
            return Gate(form(node), compile_condition(node))
        case _:
            return OPEN


def _joined(gates: Iterable[Gate], *, decisive: bool) -> Gate:
    """Join with OR, of which True decides, or with AND, of which False does."""
    distinct = {gate.form: gate for gate in gates}
    if len(distinct) == 1:
        [gate] = distinct.values()
        return gate
    outcomes = [gate.outcome for gate in distinct.values()]

    def outcome(view: View) -> bool | None:
        unknown = False
        for one in outcomes:
            found = one(view)
            if found is decisive:
                return decisive
            unknown = unknown or found is None
        return None if unknown else not decisive

    return Gate((decisive, frozenset(distinct)), outcome)


def _negated(outcome: Outcome) -> Outcome:
    def negated(view: View) -> bool | None:
        inner = outcome(view)
        return None if inner is None else not inner

    return negated
