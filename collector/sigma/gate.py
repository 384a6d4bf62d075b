"""What a condition says of an event's setting, by which most rules are out of the question for most events at once.

The setting is kind, phase, actor and errno. A run has few different ones, and hundreds of rules have few gates.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TypeAlias

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR

from collector.sigma.evaluate import compile_condition
from collector.sigma.imply import form
from collector.sigma.plan import fields_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from collector.sigma.view import View

Outcome: TypeAlias = "Callable[[View], bool | None]"
"""Whether a condition holds; None when that depends on more than the setting."""


class Gate:
    """What a condition says of the setting alone."""

    def __init__(self, form: Hashable, compiled: Callable[[], Outcome]) -> None:
        """Take what it says, and how that is compiled."""
        self.form = form
        """Equal for gates that say the same."""
        self._compiled = compiled

    @cached_property
    def outcome(self) -> Outcome:
        """Compiled when it is asked for: of the many gates that say the same, only one is."""
        return self._compiled()


OPEN: Final = Gate(None, lambda: lambda _view: None)
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
        case ConditionFieldEqualsValueExpression() if all(name in setting for name in fields_in(node)):
            return Gate(form(node), partial(compile_condition, node))
        case ConditionAND() | ConditionOR():
            parts = [_gate(child, setting) for child in node.args]
            return _joined(parts, decisive=isinstance(node, ConditionOR))
        case ConditionNOT():
            inner = _gate(node.args[0], setting)
            return inner if inner is OPEN else Gate(("not", inner.form), lambda: _negated(inner.outcome))
        case _:
            return OPEN


def _joined(gates: Iterable[Gate], *, decisive: bool) -> Gate:
    """Join with OR, of which True decides, or with AND, of which False does."""
    distinct = {gate.form: gate for gate in gates}
    if len(distinct) == 1:
        [gate] = distinct.values()
        return gate
    return Gate((decisive, frozenset(distinct)), partial(_together, distinct.values(), decisive=decisive))


def _together(gates: Iterable[Gate], *, decisive: bool) -> Outcome:
    outcomes = [gate.outcome for gate in gates]

    def outcome(view: View) -> bool | None:
        unknown = False
        for one in outcomes:
            found = one(view)
            if found is decisive:
                return decisive
            unknown = unknown or found is None
        return None if unknown else not decisive

    return outcome


def _negated(outcome: Outcome) -> Outcome:
    def negated(view: View) -> bool | None:
        inner = outcome(view)
        return None if inner is None else not inner

    return negated
