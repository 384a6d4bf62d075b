"""Logs of events that are packed, put in order and merged give what a list would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.eventlog import EventLog, Ordering, merged
from collector.events import FileRead, Source

if TYPE_CHECKING:
    from collector.events import AnyEvent

MANY = 10_000


def read(number: int, ts: float = 0.0, path: str = "/a") -> FileRead:
    return FileRead(ts=ts, phase="install", pid=7, source=Source("traces/install.strace.zst", number), path=path)


def test_a_log_gives_its_events_in_their_order_whether_packed_or_not() -> None:
    events = [read(number, path=f"/{number}") for number in range(MANY)]
    log = EventLog(events[:100], kept=10)
    log.extend(events[100:])
    assert list(log) == events
    assert list(log) == events, "a second time"
    assert log == EventLog(events)
    assert log != EventLog(events[1:])


def test_events_of_a_log_are_found_by_place() -> None:
    events = [read(number) for number in range(MANY)]
    log = EventLog(events, kept=10)
    for place in (0, 9, 10, 11, 4105, 4106, 8201, 8202, MANY - 1, -1, -MANY):
        assert log[place] == events[place]
    assert log[4100:4110] == events[4100:4110]
    for place in (MANY, -MANY - 1):
        with pytest.raises(IndexError):
            log[place]


@pytest.mark.parametrize("odd", [{"path": "/\ud800"}, {"pid": 1 << 70}])
def test_what_cannot_be_packed_is_kept_as_it_is(odd: dict[str, object]) -> None:
    fields: dict[str, object] = {"phase": "install", "path": "/a", **odd}
    events: list[AnyEvent] = [FileRead(**fields)] * MANY  # type: ignore[arg-type]
    assert list(EventLog(events, kept=10)) == events


moments = st.lists(st.integers(0, 9).map(float))


@given(moments)
def test_a_trace_is_put_in_order_of_time_and_line(found: list[float]) -> None:
    order = Ordering(run=3, pack=2, late=1)
    events = [read(number, ts) for number, ts in enumerate(found)]
    for event in reversed(events):
        order.pending.append(event)
        if len(order.pending) >= order.run:
            order.settle()
    batches = list(order.batches())
    assert [event for batch in batches for event in batch] == sorted(
        events, key=lambda event: (event.ts, event.source.line if event.source else 0)
    )


@given(st.lists(st.lists(moments, max_size=4), max_size=4))
def test_streams_are_merged_by_time_and_at_one_moment_in_their_order(found: list[list[list[float]]]) -> None:
    streams: list[list[list[AnyEvent]]] = []
    for stream in found:
        begin, batches = 0.0, []
        for batch in stream:
            ordered = sorted(begin + ts for ts in batch)
            batches.append([read(len(streams), ts, f"/{number}") for number, ts in enumerate(ordered)])
            begin = max([begin, *ordered])
        streams.append(batches)  # type: ignore[arg-type]
    every = [event for stream in streams for batch in stream for event in batch]
    assert list(merged(streams)) == sorted(every, key=lambda event: event.ts)
