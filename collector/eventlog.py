"""Events in memory that hardly grows with their number: the first as they are, all later ones packed.

A packed event takes some ten bytes. Packing and unpacking one takes less than a microsecond, far less than reading its
line anew. Readings of files stay in brief (`collector.brief`) until somebody asks for the event.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, islice, pairwise
from operator import attrgetter, eq
from typing import TYPE_CHECKING, Final, NamedTuple, overload

import zstandard

from collector.brief import Brief, Told, whole
from collector.columns import packed, unpacked
from collector.events import AnyEvent
from collector.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEPT: Final = 1 << 15
"""Events of a log that are kept as they are: a usual run has fewer."""
_PACK: Final = 1 << 12
"""Events packed together."""
_LATE: Final = 1 << 8
"""The same of events that came late: many runs of these may have to be open at one time."""
_RUN: Final = 1 << 13
"""Events put in order together."""
_PLAIN: Final = 1
"""Runs of a trace that are kept as they are: many traces have no more."""
_MOMENT: Final = attrgetter("ts")


class _Pack:
    """Some events in a row."""

    __slots__ = ("_packed", "_plain")

    def __init__(self, events: list[Told], spill: Spill | None = None) -> None:
        self._plain: list[Told] | None = events if spill is None else None
        if spill is None:
            return
        try:
            content = zstandard.ZstdCompressor(level=1).compress(packed(events))
            # A copy: what `compress` gives has the room of the worst case behind it.
            self._packed = spill.put(bytes(memoryview(content)))
        except (UnicodeEncodeError, OverflowError):
            # Half a surrogate pair, or a number that is longer than any of strace's.
            self._plain = events

    def events(self) -> list[Told]:
        """The events, made anew."""
        if self._plain is not None:
            return self._plain
        return unpacked(zstandard.ZstdDecompressor().decompress(self._packed.read()))


class _Run(NamedTuple):
    """Events in order."""

    begun: float
    """When the first of them was."""
    packs: list[_Pack]

    @classmethod
    def of(cls, events: list[Told], pack: int, spill: Spill | None = None) -> _Run:
        return cls(events[0].ts, [_Pack(events[at : at + pack], spill) for at in range(0, len(events), pack)])


class EventLog(Sequence[AnyEvent]):
    """Events in the order in which they were added."""

    def __init__(self, events: Iterable[Told] = (), *, kept: int = KEPT) -> None:
        """Take events.

        Args:
            events: The first ones.
            kept: How many are not packed.
        """
        self._most = kept
        self._kept: list[Told] = []
        self._packs: list[_Pack] = []
        self._spill = Spill()
        self._last: list[Told] = []
        # Whoever asks for events by their place asks for neighbours.
        self._unpacked = lru_cache(4)(lambda number: self._packs[number].events())
        self.extend(events)

    def extend(self, events: Iterable[Told]) -> None:
        """Add events to the end."""
        left = iter(events)
        self._kept += islice(left, self._most - len(self._kept))
        while more := list(islice(left, _PACK - len(self._last))):
            self._last += more
            if len(self._last) == _PACK:
                self._packs.append(_Pack(self._last, self._spill))
                self._last = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventLog) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._kept) + _PACK * len(self._packs) + len(self._last)

    def __iter__(self) -> Iterator[AnyEvent]:
        return map(whole, self.briefly())

    def briefly(self) -> Iterator[Told]:
        """Yield the events, those in brief that were added so."""
        return chain(self._kept, chain.from_iterable(pack.events() for pack in self._packs), self._last)

    @overload
    def __getitem__(self, at: int) -> AnyEvent: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[AnyEvent]: ...
    def __getitem__(self, at: int | slice) -> AnyEvent | Sequence[AnyEvent]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        place = at + len(self) if at < 0 else at
        if not 0 <= place < len(self):
            raise IndexError(at)
        if place < len(self._kept):
            return whole(self._kept[place])
        number, offset = divmod(place - len(self._kept), _PACK)
        return whole(self._unpacked(number)[offset] if number < len(self._packs) else self._last[offset])


class Ordering:
    """Puts the events of a trace, which come nearly in order, in order of time and of line."""

    def __init__(self, *, run: int = _RUN, pack: int = _PACK, late: int = _LATE) -> None:
        """Begin.

        Args:
            run: How many events are put in order together.
            pack: How many are packed together.
            late: How many of those that came late are.
        """
        self.pending: list[Told] = []
        """The latest events, in any order. New ones are added here."""
        self.run = run
        """At so many of them it is time to `settle`."""
        self._pack = pack
        self._late_pack = late
        self._until = -math.inf
        """Moment of the last event that was settled in time."""
        self._late: list[Told] = []
        """Events from before it: of calls that returned late. Among others they would make runs overlap."""
        self._runs: list[_Run] = []
        self._spill = Spill()

    def settle(self) -> None:
        """Put in order and pack what is pending."""
        late, events = self._parted()
        self.pending.clear()
        self._late = late
        if events:
            self._until = events[-1].ts
            self._runs.append(_Run.of(events, self._pack, None if len(self._runs) < _PLAIN else self._spill))
        if len(late) >= self.run:
            self._runs.append(_Run.of(late, self._late_pack, self._spill))
            self._late = []

    def _parted(self) -> tuple[list[Told], list[Told]]:
        """What came late and what is pending in time, each in order."""
        events = _in_order(self.pending)
        cut = bisect_left(events, self._until, key=_MOMENT)
        return _in_order([*self._late, *events[:cut]]), events[cut:]

    def batches(self) -> Iterator[list[Told]]:
        """Give all events in order, some at a time; of runs that overlap, one pack of each is held."""
        rest = [_Run.of(events, self._pack) for events in self._parted() if events]
        waiting = sorted([*self._runs, *rest], key=lambda run: run.begun, reverse=True)
        going: list[_Going] = []
        while waiting or going:
            ends = [one.events[-1].ts for one in going if one.packs]
            until = min([*ends, *(run.begun for run in waiting[-1:])], default=math.inf)
            parts = [part for one in going if (part := one.taken(until))]
            yield parts[0] if len(parts) == 1 else _in_order(chain.from_iterable(parts))
            while waiting and waiting[-1].begun == until:
                going.append(_Going(waiting.pop().packs))
            for one in going:
                one.advance(until)
            going = [one for one in going if one.events]


def _in_order(events: Iterable[Told]) -> list[Told]:
    """The events of one trace in order of time and of line."""
    found = sorted(events, key=_MOMENT)
    if any(earlier == later for earlier, later in pairwise(map(_MOMENT, found))):
        # Two keys that are numbers: a tuple of both for each event takes longer, the more so with garbage collection.
        found.sort(key=_line)
        found.sort(key=_MOMENT)
    return found


def _line(told: Told) -> int:
    if type(told) is Brief:
        return told.line
    return told.source.line if told.source else 0


class _Going:
    """A run that is being read."""

    def __init__(self, packs: Sequence[_Pack]) -> None:
        self.packs = [*reversed(packs)]
        """Those that are left."""
        self.events = self.packs.pop().events()

    def taken(self, until: float) -> list[Told]:
        """Take the events before a moment."""
        cut = bisect_left(self.events, until, key=_MOMENT)
        events, self.events = self.events[:cut], self.events[cut:]
        return events

    def advance(self, until: float) -> None:
        """Read on when what is there does not reach beyond a moment."""
        if self.packs and (not self.events or self.events[-1].ts == until):
            self.events = self.events + self.packs.pop().events()


def merged(streams: Sequence[Iterable[list[Told]]]) -> Iterator[Told]:
    """Merge streams by time.

    Args:
        streams: Of batches, each in order of time; a batch may be empty.

    Returns:
        All events in order of time. Those of the same moment keep the order of the streams, and in a stream their own.
    """
    return chain.from_iterable(_merged(streams))


def _merged(streams: Sequence[Iterable[list[Told]]]) -> Iterator[list[Told]]:
    going = {number: iter(stream) for number, stream in enumerate(streams)}
    heads: list[list[Told]] = [[] for _ in streams]
    empty = list(going)
    while True:
        while empty:
            number = empty.pop()
            batch = next(going[number], None)
            if batch is None:
                del going[number]
            else:
                heads[number] += batch
                empty += [] if heads[number] else [number]
        # Before the end of the batch that ends first nothing is missing.
        until = min((heads[number][-1].ts for number in going), default=math.inf)
        cuts = [bisect_left(head, until, key=_MOMENT) if going else len(head) for head in heads]
        yield sorted(chain.from_iterable(head[:cut] for head, cut in zip(heads, cuts, strict=True)), key=_MOMENT)
        if not going:
            return
        heads = [head[cut:] for head, cut in zip(heads, cuts, strict=True)]
        empty = [number for number in going if heads[number][-1].ts == until]


def briefly(events: Iterable[AnyEvent]) -> Iterable[Told]:
    """Give events in brief as far as they are kept so."""
    return events.briefly() if isinstance(events, EventLog) else events
