"""A rule's own examples: what it claims to match, it matches; what it claims to leave alone, it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.errors import EventTextError
from collector.events import ProcessExec, ProcessStart
from collector.findings import match
from collector.processes import Execution, Process, ProcessTable
from collector.sigma.rule import Rule, RuleSet
from collector.sigma.view import Context
from collector.text import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.events import AnyEvent
    from collector.sigma.parse import Document, Example, RuleFile

HOME = "/home/dev"
USER = "dev"
"""Whose home the examples play in."""


def processes_told(events: Iterable[AnyEvent]) -> ProcessTable:
    """Make a table of processes from what events tell of them.

    Args:
        events: Events in order of time; `process.start` and `process.exec` are looked at.

    Returns:
        The processes named there. A parent that executes nothing itself runs what its child says of it.
    """
    parents: dict[int, tuple[int, float]] = {}
    programs: dict[int, list[Execution]] = {}
    phases: dict[int, str] = {}
    for event in events:
        phases.setdefault(event.pid, event.phase)
        if not isinstance(event, (ProcessStart, ProcessExec)):
            continue
        if event.parent:
            parents.setdefault(event.pid, (event.parent, event.ts))
            phases.setdefault(event.parent, event.phase)
        if isinstance(event, ProcessExec):
            if event.parent_image:
                programs.setdefault(event.parent, [Execution(0.0, event.parent_image, event.parent_argv, "")])
            if not event.errno:
                execution = Execution(event.ts, event.image, event.argv, event.cwd, event.source)
                programs.setdefault(event.pid, []).append(execution)
    rows: dict[int, Process] = {}
    for pid in sorted(phases, key=lambda pid: parents.get(pid, (0, 0.0))[1]):
        parent, started = parents.get(pid, (0, 0.0))
        above = rows.get(parent)
        inherited = above.execution(started) if above is not None else None
        rows[pid] = Process(pid, parent, phases[pid], started, None, inherited, tuple(programs.get(pid, ())), ())
    return ProcessTable(rows.values())


def fires(rules: RuleSet, example: Example) -> bool:
    """Say whether a rule fires on the events of an example.

    Args:
        rules: The rule alone.
        example: One of its examples.

    Returns:
        Whether there is a finding.

    Raises:
        EventTextError: A line is not an event.
    """
    events = events_of(example)
    return bool(match(rules, events, Context(HOME, USER, processes_told(events))))


def events_of(example: Example) -> list[AnyEvent]:
    """Give the events of an example, each at its time.

    Raises:
        EventTextError: A line is not an event; the message begins with its number.
    """
    events: list[AnyEvent] = []
    for number, line in enumerate(example.events):
        try:
            event = parse(line)
        except EventTextError as error:
            raise EventTextError(f"event {number + 1}: {error}") from None
        events.append(msgspec.structs.replace(event, ts=number * example.interval))
    return events


def prove(rule: Rule, document: Document, file: RuleFile) -> None:
    """Run a rule on its examples.

    Args:
        rule: The rule.
        document: Where it stands.
        file: The file of that.

    Raises:
        RuleError: An example is not events, or the rule does not do what the example says.
    """
    alone = RuleSet((rule,), "")
    for example in rule.examples:
        if not example.events:
            raise file.error(f"example {example.name!a} has no events; add at least one line", document, "examples")
        try:
            fired = fires(alone, example)
        except EventTextError as error:
            raise file.error(f"example {example.name!a}, {error}", document, "examples") from None
        if fired is not example.match:
            did = "matches, but says that it must not" if fired else "does not match, but says that it does"
            raise file.error(f"example {example.name!a} {did}; mend the detection or the example", document, "examples")
