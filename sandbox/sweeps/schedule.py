"""When sweeps are due, and the timer that runs them.

A moment of a schedule is served once, by whoever first writes it down: several timers may run, on several hosts. What
was missed while none ran is made up for once, however many moments it was.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from croniter import croniter
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from sandbox.database import writing
from sandbox.database.schema import SWEEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

    from sandbox.sweeps.plan import Timed

    T = TypeVar("T", bound=Timed)

_LONGEST_WAIT_S: Final = 5.0
"""The file is looked at again so often, and the clock may have been set."""


class Due(NamedTuple):
    """A moment that is to be served, UTC seconds since the epoch."""

    since: float
    """The one that was served before it."""
    moment: float


def moments(timed: Timed, after: float) -> Iterator[float]:
    """The moments of a sweep's schedule after one, in UTC seconds since the epoch; none without a schedule."""
    if timed.schedule is None:
        return
    start = datetime.fromtimestamp(after, ZoneInfo(timed.timezone))
    for moment in croniter(timed.schedule, start).all_next(datetime):
        # In the hour that a clock repeats, a moment may come out before the one that it is to follow.
        if moment.timestamp() > after:
            yield moment.timestamp()


def latest(timed: Timed, after: float, now: float) -> float | None:
    """The latest moment of the schedule after `after` and not later than `now`."""
    start = datetime.fromtimestamp(now + 1, ZoneInfo(timed.timezone))
    for moment in croniter(timed.schedule, start).all_prev(datetime):
        if moment.timestamp() <= now:
            return float(moment.timestamp()) if moment.timestamp() > after else None
    return None


def slot(engine: Engine, timed: Timed, now: float) -> float:
    """The latest moment that was served; a sweep that is new is served as of now."""
    row = _slot(engine, timed.name)
    if row is not None:
        return row
    try:
        with writing(engine) as connection:
            changed = connection.execute(
                update(SWEEPS).where(SWEEPS.c.name == timed.name, SWEEPS.c.slot.is_(None)).values(slot=now)
            ).rowcount
            if not changed:
                connection.execute(insert(SWEEPS), {"name": timed.name, "feed": "", "cursor": {}, "slot": now})
    except IntegrityError:
        pass  # another timer was quicker
    return _slot(engine, timed.name) or now


def take(engine: Engine, timed: Timed, now: float) -> Due | None:
    """The moment of a schedule that is due, if it is ours to serve."""
    if timed.schedule is None:
        return None
    served = slot(engine, timed, now)
    due = latest(timed, served, now)
    if due is None:
        return None
    with writing(engine) as connection:
        taken = connection.execute(
            update(SWEEPS).where(SWEEPS.c.name == timed.name, SWEEPS.c.slot == served).values(slot=due)
        )
        return Due(since=served, moment=due) if taken.rowcount else None


def keep_schedule(
    engine: Engine,
    wanted: Callable[[], Sequence[T]],
    run: Callable[[T, Due], None],
    clock: Callable[[], float],
    stop: threading.Event,
) -> None:
    """Run things as their schedules say, each in a thread of its own, until `stop` is set and all have ended.

    Args:
        engine: The database.
        wanted: Gives what is scheduled, as the file has it now.
        run: Runs one; never raises.
        clock: UTC seconds since the epoch.
        stop: Ends it; what runs must heed it too.
    """
    running: dict[str, threading.Thread] = {}
    try:
        while not stop.is_set():
            timed = wanted()
            running = {name: thread for name, thread in running.items() if thread.is_alive()}
            for it in timed:
                if it.name not in running and (due := take(engine, it, clock())):
                    running[it.name] = threading.Thread(target=run, args=(it, due), name=f"sweep {it.name}")
                    running[it.name].start()
            stop.wait(_wait(engine, timed, clock()))
    finally:
        stop.set()
        for thread in running.values():
            thread.join()


def _wait(engine: Engine, timed: Sequence[Timed], now: float) -> float:
    """Seconds until the next moment, at most `_LONGEST_WAIT_S`."""
    dues = [next(moments(it, slot(engine, it, now)), None) for it in timed if it.schedule]
    soonest = min((due - now for due in dues if due is not None), default=_LONGEST_WAIT_S)
    # What is still running may be overdue: it is looked at again soon.
    return min(max(soonest, 1.0), _LONGEST_WAIT_S)


def _slot(engine: Engine, name: str) -> float | None:
    with engine.connect() as connection:
        return connection.execute(select(SWEEPS.c.slot).where(SWEEPS.c.name == name)).scalar_one_or_none()
