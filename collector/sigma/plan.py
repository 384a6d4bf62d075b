"""What can be said of a condition before any event is seen: the kinds that cannot match, the order to test in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR
from sigma.types import SigmaFieldReference, SigmaRegularExpression

from collector.sigma.needs import COARSE
from collector.sigma.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from collector.events import AnyEvent, Event
    from collector.sigma.view import Context, Getter


def fields_in(node: object) -> Iterable[str]:
    """Give the fields that a condition tree looks at.

    Args:
        node: Root of the tree.

    Yields:
        Names, in order, with repetition.
    """
    if isinstance(node, ConditionFieldEqualsValueExpression):
        yield node.field
        if isinstance(node.value, SigmaFieldReference):
            yield node.value.field
    elif isinstance(node, (ConditionAND, ConditionOR, ConditionNOT)):
        for child in node.args:
            yield from fields_in(child)


def leaves_in(node: object) -> Iterable[ConditionFieldEqualsValueExpression]:
    """Give the tests of fields in a condition tree, in order."""
    if isinstance(node, ConditionFieldEqualsValueExpression):
        yield node
    elif isinstance(node, (ConditionAND, ConditionOR, ConditionNOT)):
        for child in node.args:
            yield from leaves_in(child)


def fields_read(trees: Iterable[object]) -> frozenset[str] | None:
    """Give all fields that conditions look at.

    Args:
        trees: Condition trees.

    Returns:
        Their names; None when a value is searched for in every field.
    """
    names: set[str] = set()
    pending = list(trees)
    while pending:
        match pending.pop():
            case ConditionFieldEqualsValueExpression() as leaf:
                names.update(fields_in(leaf))
            case ConditionAND() | ConditionOR() | ConditionNOT() as node:
                pending += node.args
            case _:
                return None
    return frozenset(names)


def blank_view(kind: type[Event]) -> View:
    """Make a view of an event of which only the kind is known: it is asked for nothing else that it could have.

    Args:
        kind: Its class.
    """
    tag = str(kind.__struct_config__.tag)
    return View(cast("AnyEvent", None), cast("Context", None), {"Kind": lambda _event, _context: tag})


def possible_kinds(
    conditions: Iterable[object],
    kinds: Mapping[type[Event], Mapping[str, Getter]],
    compile_leaf: Callable[[object], Callable[[View], bool]],
    impossible: Callable[[object], bool] = lambda _leaf: False,
) -> frozenset[type[Event]]:
    """Find the kinds of events that a rule can match at all, so that it need not see the others.

    Args:
        conditions: Condition trees, of which any may match.
        kinds: The candidates, with the fields that each has.
        compile_leaf: Makes a leaf of a tree a function.
        impossible: Says of a leaf that no event that there is can match it.

    Returns:
        Those for which no condition is false by reason of the kind and of the fields that it lacks.
    """
    conditions = tuple(conditions)

    names: dict[int, frozenset[str]] = {}
    tests: dict[int, Callable[[View], bool]] = {}

    def leaf_outcome(node: object, blank: View, fields: Collection[str]) -> bool | None:
        leaf = id(node)
        if leaf not in names:
            names[leaf] = frozenset(fields_in(node)) - {"Kind"}
        if impossible(node):
            return False
        if not names[leaf].isdisjoint(fields) or not isinstance(node, ConditionFieldEqualsValueExpression):
            return None
        if leaf not in tests:
            tests[leaf] = compile_leaf(node)
        return tests[leaf](blank)

    return frozenset(
        kind
        for kind, fields in kinds.items()
        if any(_outcome(node, blank_view(kind), fields, leaf_outcome) is not False for node in conditions)
    )


def selective_first(nodes: Iterable[object]) -> list[object]:
    """Order what must all hold so that what fails most often is tested first; the result of AND is the same."""
    return sorted(nodes, key=_weight)


def _weight(node: object) -> int:
    if isinstance(node, ConditionNOT):
        return 2
    if isinstance(node, (ConditionAND, ConditionOR)):
        return max(map(_weight, node.args))
    if not isinstance(node, ConditionFieldEqualsValueExpression):
        return 1
    return int(node.field in COARSE or isinstance(node.value, SigmaRegularExpression))


def _outcome(
    node: object,
    blank: View,
    fields: Collection[str],
    leaf_outcome: Callable[[object, View, Collection[str]], bool | None],
) -> bool | None:
    """Evaluate with what is known: True, False, or None when it depends on the event."""
    match node:
        # Leaves are most of a tree: asked for first, here as in the other walks, they need no more.
        case ConditionFieldEqualsValueExpression():
            return leaf_outcome(node, blank, fields)
        case ConditionNOT():
            inner = _outcome(node.args[0], blank, fields, leaf_outcome)
            return None if inner is None else not inner
        case ConditionAND() | ConditionOR():
            decisive, unknown = isinstance(node, ConditionOR), False
            for child in node.args:
                outcome = _outcome(child, blank, fields, leaf_outcome)
                if outcome is decisive:
                    return decisive
                unknown = unknown or outcome is None
            return None if unknown else not decisive
        case _:
            return leaf_outcome(node, blank, fields)
