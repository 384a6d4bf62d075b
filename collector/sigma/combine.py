"""From a correlation rule as pySigma has it to one that can be run."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionOR,
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)

from collector.sigma.correlate import (
    GROUPS,
    RUN,
    Correlation,
    Finder,
    Step,
    event_count,
    pieces,
    temporal,
    temporal_ordered,
    value_count,
)
from collector.sigma.parse import check_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from collector.sigma.parse import Document, RuleFile
    from collector.sigma.rule import Selection

_COMPARED: Final[Mapping[SigmaCorrelationConditionOperator, Callable[[float, float], bool]]] = {
    SigmaCorrelationConditionOperator.LT: operator.lt,
    SigmaCorrelationConditionOperator.LTE: operator.le,
    SigmaCorrelationConditionOperator.EQ: operator.eq,
    SigmaCorrelationConditionOperator.NEQ: operator.ne,
}
_MACHINE: Final = frozenset({"Computer", "ComputerName", "Hostname", "host", "host.name", "hostname"})
"""What rules by others call the machine, of which a run has one."""
Enough: TypeAlias = "Callable[[frozenset[int]], bool]"


class Base(NamedTuple):
    """A base rule, compiled."""

    selection: Selection
    names: Mapping[str, str]
    """The fields of its category: from the name that rules use to the one inside."""


def combine(rule: SigmaCorrelationRule, document: Document, bases: Mapping[int, Base], file: RuleFile) -> Correlation:
    """Compile a correlation rule.

    Args:
        rule: The rule; its references are resolved.
        document: Where it stands.
        bases: By `id()` of each base rule, what it looks for.
        file: The file.

    Returns:
        The correlation.

    Raises:
        RuleError: It is of a type, or asks for a condition, that a finished run cannot be searched for.
    """
    for reference in rule.referenced_rules:
        if id(reference.rule) not in bases:
            raise file.error(f"{reference.reference!a} is a correlation itself; name a base rule", document, "rules")
    unused = set(bases) - {id(reference.rule) for reference in rule.referenced_rules}
    if unused:
        raise file.error(
            "a base rule is not named in `rules`; add it or move it to a file of its own", document, "rules"
        )
    valid = {name for base in bases.values() for name in base.names}
    groups, counted = tuple(rule.group_by or ()), _value_fields(rule)
    steps = []
    for reference in rule.referenced_rules:
        base = bases[id(reference.rule)]
        given = [_unaliased(rule, reference, name) for name in groups]
        grouped = [RUN if name in _MACHINE and name not in valid else name for name in given]
        check_names(file, document, grouped, {*GROUPS, *valid}, what="field in group-by")
        values = [_unaliased(rule, reference, name) for name in counted]
        check_names(file, document, values, valid, what="field of the condition")
        steps.append(Step(reference.reference, base.selection, _inside(grouped, base), _inside(values, base)))
    rises = getattr(rule.condition, "op", None) not in _COMPARED
    return Correlation(tuple(steps), _finder(rule, document, file), _words(rule), rises=rises)


def _words(rule: SigmaCorrelationRule) -> str:
    names = ", ".join(reference.reference for reference in rule.referenced_rules)
    condition = rule.condition
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        asked = f", {condition.expression}"
    elif rule.type in {SigmaCorrelationType.TEMPORAL, SigmaCorrelationType.TEMPORAL_ORDERED}:
        asked = ""
    else:
        counted = f" values of {', '.join(_value_fields(rule))}" if _value_fields(rule) else ""
        asked = f", {condition.op.name.lower()} {condition.count}{counted}"
    return f"{rule.type!s} of {names} within {rule.timespan.spec}{asked}"


def _unaliased(rule: SigmaCorrelationRule, reference: SigmaRuleReference, name: str) -> str:
    alias = rule.aliases.aliases.get(name)
    return name if alias is None else alias.mapping.get(SigmaRuleReference(reference.reference), name)


def _inside(names: Iterable[str], base: Base) -> tuple[str, ...]:
    return tuple(base.names.get(name, name) for name in names)


def _value_fields(rule: SigmaCorrelationRule) -> tuple[str, ...]:
    if rule.type is not SigmaCorrelationType.VALUE_COUNT or not isinstance(rule.condition, SigmaCorrelationCondition):
        return ()
    field = rule.condition.fieldref or ()
    return (field,) if isinstance(field, str) else tuple(field)


def _finder(rule: SigmaCorrelationRule, document: Document, file: RuleFile) -> Finder:
    timespan = float(rule.timespan.seconds)
    match rule.type:
        case SigmaCorrelationType.EVENT_COUNT | SigmaCorrelationType.VALUE_COUNT:
            return _counting(rule, timespan, document, file)
        case SigmaCorrelationType.TEMPORAL:
            return temporal(_enough(rule, document, file), timespan)
        case SigmaCorrelationType.TEMPORAL_ORDERED:
            steps = len(rule.referenced_rules)
            if isinstance(rule.condition, SigmaExtendedCorrelationCondition) or (
                _least(rule.condition, document, file) != steps
            ):
                raise file.error("temporal_ordered wants every rule in turn; drop its condition", document, "condition")
            return temporal_ordered(steps, timespan)
        case _:
            known = "event_count, value_count, temporal and temporal_ordered"
            raise file.error(f"correlations of type {rule.type} are not evaluated; there are {known}", document, "type")


def _counting(rule: SigmaCorrelationRule, timespan: float, document: Document, file: RuleFile) -> Finder:
    condition, values = rule.condition, rule.type is SigmaCorrelationType.VALUE_COUNT
    if not isinstance(condition, SigmaCorrelationCondition) or condition.op not in _COMPARED:
        least = _least(condition, document, file)
        return value_count(least, timespan) if values else event_count(least, timespan)
    compare, count = _COMPARED[condition.op], condition.count
    return pieces(lambda number: compare(number, count), timespan, values=values)


def _least(condition: object, document: Document, file: RuleFile) -> int:
    """Read the number that must be reached."""
    if isinstance(condition, SigmaCorrelationCondition) and isinstance(condition.count, int):
        least = condition.count + (condition.op is SigmaCorrelationConditionOperator.GT)
        at_least = (SigmaCorrelationConditionOperator.GT, SigmaCorrelationConditionOperator.GTE)
        if condition.op in at_least and least > 0:
            return least
    raise file.error("a correlation asks for at least one whole event: `gte: 1` or more", document, "condition")


def _enough(rule: SigmaCorrelationRule, document: Document, file: RuleFile) -> Enough:
    condition = rule.condition
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        steps = {reference.reference: step for step, reference in enumerate(rule.referenced_rules)}
        return _expression(condition.parsed, steps, document, file)
    least = _least(condition, document, file)
    if least > len(rule.referenced_rules):
        raise file.error(
            f"the condition asks for more than the {len(rule.referenced_rules)} rules named", document, "condition"
        )
    return lambda seen: len(seen) >= least


def _expression(node: object, steps: Mapping[str, int], document: Document, file: RuleFile) -> Enough:
    match node:
        case SigmaRuleReference():
            step = steps[node.reference]
            return lambda seen: step in seen
        case CorrelationConditionAND():
            parts = [_expression(child, steps, document, file) for child in node.args]
            return lambda seen: all(part(seen) for part in parts)
        case CorrelationConditionOR():
            parts = [_expression(child, steps, document, file) for child in node.args]
            return lambda seen: any(part(seen) for part in parts)
        case _:
            # Until the run ends nobody can say that something will not come within the timespan.
            raise file.error(
                "`not` in a correlation is not evaluated; put the exclusion in a base rule", document, "condition"
            )
