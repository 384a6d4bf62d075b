"""Rules over events: what a run did that a rule knows, with the events that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from collector.events import AnyEvent
from collector.manifest import PHASES
from collector.sigma.correlate import Correlation
from collector.sigma.fields import getters_by_kind
from collector.sigma.rule import LEVELS, Beacon, Level, Rule, RuleSet, selections_of
from collector.sigma.view import View
from collector.standing import DEPENDENCY, TARGET
from collector.suppressions import Suppression
from collector.verdict import bait_left

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from collector.sigma.view import Context


_CALLING: Final = "exercise"
_LAST: Final = "linger"
MAX_EVIDENCE = 20
"""Most events that one finding carries."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that fired, in one phase, by one actor."""

    rule: str
    """Id of the rule (UUID)."""
    name: str
    """Name of its file without the ending."""
    title: str
    level: Level
    attack: tuple[str, ...] = ()
    """ATT&CK techniques, e.g. `T1552.001`."""
    phase: str
    actor: str
    nursery: bool = False
    evidence: tuple[AnyEvent, ...]
    """Events that show it, in order, at most `MAX_EVIDENCE`; unlike ones are preferred to repetitions."""
    count: int
    """How many events show it in all."""
    description: str = ""
    why: str = ""
    falsepositives: tuple[str, ...] = ()
    normal: str = ""
    """What would have been normal instead."""
    beacon: Beacon = ""
    """See `Rule.beacon`."""
    chain: bool = False
    """It takes several events, by a correlation rule."""
    owned: bool = True
    """At least once, everything that makes it up was done by the package or by a dependency."""
    suppression: Suppression | None = None
    """Why it does not count, where somebody has said so."""
    called: bool = False
    """Each time that it was, a part of it happened only because code of the package was called (phase exercise)."""


def match(rules: RuleSet, events: Sequence[AnyEvent], context: Context) -> tuple[Finding, ...]:
    """Find what the rules know in the events of a run: no files, no clock, same input, same findings.

    Args:
        rules: The rules.
        events: All events of the run, in order of time.
        context: What fields need beside the events.

    Returns:
        One finding for each rule, phase and actor; the gravest first, then in order of phase and of rule name.
        The phase and the actor of a correlation are those of the event that completed it.
    """
    hits = rules.index.evaluate(events, context)
    findings: list[Finding] = []
    taken = 0
    for rule in rules.rules:
        own = hits[taken : taken + len(selections_of(rule))]
        taken += len(own)
        if any(own):
            findings += _findings(rule, _occurrences(rule, own, events, context), events, context)
    return tuple(sorted(findings, key=_order))


def _occurrences(
    rule: Rule, hits: Sequence[list[int]], events: Sequence[AnyEvent], context: Context
) -> Iterator[tuple[int, ...]]:
    """Yield the places of the events of each occurrence, from those that each selection of a rule matched."""
    if not isinstance(rule.body, Correlation):
        yield from ((at,) for at in hits[0])
        return
    if rule.level == "critical" and rule.body.rises:
        # Of several ways to complete a chain a correlation takes the latest. Else a package could disown one by making
        # a compiler, or a program that is only called, repeat a part of it: what it did alone and uncalled comes first.
        alone = [[at for at in places if _standing((events[at],), context) == _ALONE] for places in hits]
        if alone != hits:
            yield from rule.body.find(_matches(alone, events, context))
    yield from rule.body.find(_matches(hits, events, context))


def _matches(
    hits: Sequence[list[int]], events: Sequence[AnyEvent], context: Context
) -> Iterator[tuple[int, View, int]]:
    for step, places in enumerate(hits):
        for at in places:
            event = events[at]
            yield at, View(event, context, getters_by_kind()[type(event)]), step


def _findings(
    rule: Rule, occurrences: Iterable[tuple[int, ...]], events: Sequence[AnyEvent], context: Context
) -> Iterable[Finding]:
    groups: dict[tuple[str, str], dict[int, None]] = {}
    standings: dict[tuple[str, str], set[_Standing]] = {}
    for positions in occurrences:
        last = events[positions[-1]]
        group = (last.phase, last.actor)
        groups.setdefault(group, {}).update(dict.fromkeys(positions))
        standings.setdefault(group, set()).add(_standing([events[position] for position in positions], context))
    for (phase, actor), members in groups.items():
        standing = min(standings[phase, actor], key=lambda one: (not one.owned, one.called))
        yield Finding(
            rule=rule.id,
            name=rule.name,
            title=rule.title,
            level=rule.level,
            attack=rule.attack,
            phase=phase,
            actor=actor,
            nursery=rule.nursery,
            evidence=tuple(events[position] for position in _telling(members, events)),
            count=len(members),
            description=rule.description,
            why=rule.why,
            falsepositives=rule.falsepositives,
            normal=rule.normal,
            beacon=rule.beacon,
            chain=isinstance(rule.body, Correlation),
            owned=standing.owned,
            called=standing.called,
        )


class _Standing(NamedTuple):
    """Whose doing an occurrence is: see `Finding`."""

    owned: bool
    called: bool


_ALONE: Final = _Standing(owned=True, called=False)


def _standing(events: Iterable[AnyEvent], context: Context) -> _Standing:
    parts = tuple(events)
    owned = all(event.actor == TARGET or event.actor.startswith(DEPENDENCY) for event in parts)
    return _Standing(owned, any(_is_called(event, context) for event in parts))


def _is_called(event: AnyEvent, context: Context) -> bool:
    """Whether an event is of `exercise`, or later of a process that `exercise` left."""
    if event.phase != _LAST or not event.pid:
        return event.phase == _CALLING
    # The whole line of a process has begun in one phase or, later, in `linger`: its top tells which. All ancestors of
    # each would be quadratic for a line of thousands.
    table = context.processes
    top = table.branch(event.pid, event.ts)
    root = table.get(top.parent, top.started) if top is not None and top.parent else None
    return any(one is not None and one.phase == _CALLING for one in (top, root))


def _telling(positions: Collection[int], events: Sequence[AnyEvent]) -> list[int]:
    """Choose what to show: in the order of occurrences, first of each sort of event, then repetitions."""
    distinct: dict[AnyEvent, int] = {}
    repeated: list[int] = []
    # Before all others one that proves theft: it must not be crowded out.
    proof = next((position for position in positions if bait_left(events[position])), None)
    for position in positions if proof is None else (proof, *positions):
        bare = msgspec.structs.replace(events[position], ts=0.0, pid=0, source=None)
        if len(distinct) == MAX_EVIDENCE:
            break
        if distinct.setdefault(bare, position) != position and len(repeated) < MAX_EVIDENCE:
            repeated.append(position)
    return sorted([*distinct.values(), *repeated][:MAX_EVIDENCE])


def _order(finding: Finding) -> tuple[int, int, str, str, str]:
    phase = PHASES.index(finding.phase) if finding.phase in PHASES else len(PHASES)
    return LEVELS.index(finding.level), phase, finding.phase, finding.name, finding.actor
