"""A rule's own examples: what it claims to match, it matches; what it claims to leave alone, it leaves alone."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

from collector.errors import EventTextError
from collector.events import ProcessExec, ProcessStart
from collector.findings import match
from collector.sigma.parse import explanation
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


class ToldProcesses:
    """Processes as far as a list of events tells of them; see `collector.sigma.view.Processes`."""

    def __init__(self, events: Iterable[AnyEvent]) -> None:
        self._parents: dict[int, int] = {}
        self._programs: dict[int, list[tuple[float, str, str]]] = {}
        for event in events:
            if isinstance(event, ProcessStart):
                self._parents[event.pid] = event.parent
            elif isinstance(event, ProcessExec):
                if event.parent:
                    self._parents.setdefault(event.pid, event.parent)
                    parent = (float("-inf"), event.parent_image, " ".join(event.parent_argv))
                    self._programs.setdefault(event.parent, [parent])
                if not event.errno:
                    program = (event.ts, event.image, " ".join(event.argv))
                    self._programs.setdefault(event.pid, []).append(program)

    def image(self, pid: int, ts: float) -> str:
        """Path of the program that `pid` ran at `ts`; a fork runs what its parent does."""
        return self._program(pid, ts)[1]

    def command_line(self, pid: int, ts: float) -> str:
        """Arguments of that program, joined with spaces."""
        return self._program(pid, ts)[2]

    def ancestors(self, pid: int) -> tuple[int, ...]:
        """Parents of `pid` that the events tell of, nearest first."""
        found: dict[int, None] = {}
        while (pid := self._parents.get(pid, 0)) and pid not in found:
            found[pid] = None
        return tuple(found)

    def _program(self, pid: int, ts: float) -> tuple[float, str, str]:
        for one in (pid, *self.ancestors(pid)):
            programs = self._programs.get(one, [])
            before = bisect_right(programs, ts, key=lambda program: program[0])
            if before:
                return programs[before - 1]
        return (0.0, "", "")


def prove(rule: Rule, document: Document, file: RuleFile) -> None:
    """Run a rule on its examples.

    Args:
        rule: The rule.
        document: Where it stands.
        file: The file of that.

    Raises:
        RuleError: An example is not events, or the rule does not do what the example says.
    """
    for example in explanation(file, document).examples:
        events = _events(example, document, file)
        fired = bool(match(RuleSet((rule,), ""), events, Context(HOME, USER, ToldProcesses(events))))
        if fired is example.match:
            continue
        did = "matches, but says that it must not" if fired else "does not match, but says that it does"
        raise file.error(f"example {example.name!a} {did}; mend the detection or the example", document, "examples")


def _events(example: Example, document: Document, file: RuleFile) -> list[AnyEvent]:
    if not example.events:
        raise file.error(f"example {example.name!a} has no events; add at least one line", document, "examples")
    events: list[AnyEvent] = []
    for number, line in enumerate(example.events):
        try:
            event = parse(line)
        except EventTextError as error:
            raise file.error(f"example {example.name!a}, event {number + 1}: {error}", document, "examples") from None
        events.append(msgspec.structs.replace(event, ts=number * example.interval))
    return events
