"""Sigma correlation rules: what single events do not show, several together do.

A correlation takes the matches of its base rules, in order of time, splits them by its `group-by` and looks for
occurrences within its timespan. Everything here is linear in the number of matches.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from collector.sigma.view import absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from collector.sigma.rule import Selection
    from collector.sigma.view import Value, View

Key: TypeAlias = "tuple[Value, ...]"

RUN = "Run"
PROCESS_TREE = "ProcessTree"
GROUPS = (RUN, PROCESS_TREE)
"""What `group-by` may name beside the fields of the base rules."""


class Match(NamedTuple):
    """An event that base rule number `step` matched; `position` is the event's place in the run."""

    position: int
    ts: float
    step: int
    value: Key = ()
    """What `value_count` counts."""


Finder: TypeAlias = "Callable[[Sequence[Match]], Iterator[tuple[int, ...]]]"
"""Takes the matches of one group in order and gives the positions of each occurrence, its last event last."""


@dataclass(frozen=True, slots=True)
class Step:
    """One base rule of a correlation."""

    name: str
    selection: Selection
    group_by: tuple[str, ...]
    """Fields of the correlation's `group-by`, aliases resolved for this rule."""
    value_fields: tuple[str, ...] = ()
    """What `value_count` counts the distinct values of, likewise."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation rule, compiled."""

    steps: tuple[Step, ...]
    finder: Finder
    words: str = ""
    """Type, timespan and condition, to read."""
    rises: bool = True
    """What some matches show, more of them still show."""

    def find(self, matches: Iterable[tuple[int, View, int]]) -> Iterator[tuple[int, ...]]:
        """Find all occurrences.

        Args:
            matches: Place of the event in the run, its fields, and number of the step that matched it.

        Yields:
            For each occurrence the places of its events; the last one completed it.
        """
        groups: dict[Key, list[Match]] = {}
        for position, view, step in matches:
            key = tuple(group_value(view, name) for name in self.steps[step].group_by)
            # An event that lacks what is grouped by belongs with no other.
            if any(map(absent, key)):
                continue
            group = groups.setdefault(key, [])
            group += (
                Match(position, view.event.ts, step, value) for value in _counted(view, self.steps[step].value_fields)
            )
        for group in groups.values():
            group.sort(key=lambda match: (match.ts, match.position))
            # Several steps, or several values, may have come from one event.
            yield from (tuple(dict.fromkeys(positions)) for positions in self.finder(group))


def _counted(view: View, fields: tuple[str, ...]) -> Iterable[Key]:
    """Give what is counted of an event: for one field each member of its list, for several their combination."""
    if not fields:
        return ((),)
    values = tuple(view.value(name) for name in fields)
    if len(values) == 1 and isinstance(values[0], tuple):
        return tuple((member,) for member in values[0])
    return () if all(map(absent, values)) else (values,)


def group_value(view: View, name: str) -> Value:
    """Give what an event is grouped by.

    Args:
        view: The event.
        name: A field, or one of `GROUPS`.

    Returns:
        The value; None when the event has none.
    """
    if name == RUN:
        return RUN
    if name != PROCESS_TREE:
        return view.value(name)
    event = view.event
    branch = view.context.processes.branch(event.pid, event.ts)
    return event.pid or None if branch is None else branch.pid


def event_count(least: int, timespan: float) -> Finder:
    """Look for `least` matches within `timespan` seconds."""

    def find(matches: Sequence[Match]) -> Iterator[tuple[int, ...]]:
        window: deque[Match] = deque(maxlen=least)
        for match in matches:
            window.append(match)
            if len(window) == least and match.ts - window[0].ts <= timespan:
                yield tuple(earlier.position for earlier in window)

    return find


def value_count(least: int, timespan: float) -> Finder:
    """Look for matches with `least` distinct values within `timespan` seconds."""

    def find(matches: Sequence[Match]) -> Iterator[tuple[int, ...]]:
        # By value the latest match that had it, the one longest ago first. (The first key of a plain dict that lost
        # many before it is slow to find.)
        latest: OrderedDict[Key, Match] = OrderedDict()
        for match in matches:
            latest[match.value] = match
            latest.move_to_end(match.value)
            while match.ts - (oldest := next(iter(latest.values()))).ts > timespan:
                del latest[oldest.value]
            if len(latest) >= least:
                yield tuple(seen.position for seen in islice(reversed(latest.values()), least))[::-1]

    return find


def pieces(fits: Callable[[int], bool], timespan: float, *, values: bool) -> Finder:
    """Cut the matches into pieces and look for those with a fitting number of matches, or of distinct values.

    A piece begins with a match and lasts `timespan` seconds; the next begins with the first match after it. "Fewer
    than" needs such a cut: of a window that slides, a part with fewer is always there.

    Args:
        fits: Says whether a number is what is looked for.
        timespan: Seconds.
        values: Count distinct values.
    """

    def find(matches: Sequence[Match]) -> Iterator[tuple[int, ...]]:
        piece: list[Match] = []
        for match in (*matches, None):
            if match is not None and (not piece or match.ts - piece[0].ts <= timespan):
                piece.append(match)
                continue
            if piece and fits(len({it.value for it in piece}) if values else len(piece)):
                yield tuple(it.position for it in piece)
            piece = [] if match is None else [match]

    return find


def temporal(enough: Callable[[frozenset[int]], bool], timespan: float) -> Finder:
    """Look for matches of several steps within `timespan` seconds, in any order.

    Args:
        enough: Says whether the steps that were seen are all that is needed.
        timespan: Seconds.
    """

    def find(matches: Sequence[Match]) -> Iterator[tuple[int, ...]]:
        latest: dict[int, Match] = {}
        for match in matches:
            latest[match.step] = match
            latest = {step: seen for step, seen in latest.items() if match.ts - seen.ts <= timespan}
            if enough(frozenset(latest)):
                yield tuple(sorted(seen.position for seen in latest.values()))

    return find


class _Chain(NamedTuple):
    """Matches of the first steps, in order: when the first was, and their positions."""

    start: float
    positions: tuple[int, ...]


def temporal_ordered(steps: int, timespan: float) -> Finder:
    """Look for a match of every step, in their order, within `timespan` seconds.

    Of all ways to reach a step only the one that began last is kept: whatever can still complete in time, it can.
    One event serves for one step of an occurrence.
    """

    def find(matches: Sequence[Match]) -> Iterator[tuple[int, ...]]:
        reached: list[_Chain | None] = [None] * steps
        # An event that several steps match tries the last of them first, so that it cannot follow itself.
        for match in sorted(matches, key=lambda match: (match.ts, match.position, -match.step)):
            before = _Chain(match.ts, ()) if match.step == 0 else reached[match.step - 1]
            if before is None or match.ts - before.start > timespan:
                continue
            chain = _Chain(before.start, (*before.positions, match.position))
            reached[match.step] = chain
            if match.step == steps - 1:
                yield chain.positions

    return find
