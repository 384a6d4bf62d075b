"""A rule by others made to look at our events: fields named as inside, its view narrowed to what happened."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sigma.types import SigmaFieldReference, SigmaString

from collector.errors import RuleError
from collector.sigma.audit_calls import NAMES
from collector.sigma.closed import kinds_that_can
from collector.sigma.evaluate import compile_trees, condition_trees
from collector.sigma.lists import items_of
from collector.sigma.plan import fields_in
from collector.sigma.taxonomy import ABSENT
from collector.sigma.written import Written

if TYPE_CHECKING:
    from sigma.rule import SigmaRule
    from sigma.types import SigmaType

    from collector.sigma.rule import Predicate, Selection
    from collector.sigma.taxonomy import LogSource
    from collector.sigma.view import View

_OUTCOME: Final = frozenset({"Errno", "auditd.success"})
_CALLS: Final = frozenset({"auditd.syscall", "auditd.SYSCALL"})
_REGISTER: Final = re.compile(r"a\d+")


def adapted(rule: SigmaRule, source: LogSource) -> Selection:
    """Compile a rule by others.

    Args:
        rule: A rule whose conditions have not been parsed yet; it is changed.
        source: What its logsource stands for.

    Returns:
        What it looks for: in events that happened, unless it asks for failures, and not in what the installer does by
        itself, of which its author knew nothing, unless it asks for the actor.

    Raises:
        RuleError: It asks for what no event answers to, or cannot be evaluated; the message is the reason.
    """
    _rename(rule, source)
    trees = condition_trees(rule)
    selection = compile_trees(trees, source.kinds)
    if not kinds_that_can(trees, selection.kinds):
        raise RuleError(f"it can match no event that there is: no {source.label} event has what it asks for")
    used = {name for tree in trees for name in fields_in(tree)}
    predicate = _seen(selection.predicate, failed=bool(used & _OUTCOME), installer="Actor" in used)
    return replace(selection, predicate=predicate, written=Written(source.label, rule, trees))


def _rename(rule: SigmaRule, source: LogSource) -> None:
    """Give fields the names that they have inside; what no event answers to is told."""
    for detection in rule.detection.detections.values():
        for item in items_of(detection):
            if item.field is None:
                continue
            _check_field(item.field, rule, source)
            item.field = source.names[item.field]
            if item.field in _CALLS:
                item.value = [_call_named(value) for value in item.value]
            for value in item.value:
                if isinstance(value, SigmaFieldReference):
                    _check_field(value.field, rule, source)
                    value.field = source.names[value.field]
                if isinstance(value, SigmaString) and value.contains_placeholder():
                    raise RuleError(f"{item.field}: nothing fills in the placeholder of {str(value)!a}")


def _call_named(value: SigmaType) -> SigmaType:
    """The name of a system call that is given by its number, as auditd writes it before `ausearch -i`."""
    number = str(value)
    return SigmaString(NAMES.get(number, number)) if number.isdecimal() else value


def _check_field(name: str, rule: SigmaRule, source: LogSource) -> None:
    if name not in source.names:
        raise RuleError(f"field {name} of {source.label}: {ABSENT.get(name, 'events have nothing of the kind')}")
    if source.label == "auditd" and _REGISTER.fullmatch(name) and not _speaks_of(rule, "type", "EXECVE"):
        raise RuleError(f"field {name} of auditd: arguments of system calls as numbers are not kept")


def _speaks_of(rule: SigmaRule, field: str, value: str) -> bool:
    """Whether a rule names a value for a field anywhere, or does not speak of the field at all."""
    given = [
        str(text).upper()
        for detection in rule.detection.detections.values()
        for item in items_of(detection)
        if item.field in {field, f"auditd.{field}"}
        for text in item.value
    ]
    return not given or value in given


def _seen(predicate: Predicate, *, failed: bool, installer: bool) -> Predicate:
    """Let a rule see what its author's system would have logged: what happened, unless it asks about failures."""

    def narrowed(view: View) -> bool:
        event = view.event
        if (event.errno and not failed) or (event.actor == "installer" and not installer):
            return False
        return predicate(view)

    return narrowed
