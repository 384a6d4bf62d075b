"""When sweeps are due, and the timer that runs them.

A moment of a schedule is served once, by whoever first writes it down: several timers may run, on several hosts. What
was missed while none ran is made up for once, however many moments it was.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog
from croniter import croniter
from sqlalchemy import insert, select, update

from sandbox.database import is_conflict, writing
from sandbox.database.schema import SWEEPS
from sandbox.sweeps.rows import feed_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Engine

    from sandbox.sweeps.plan import Sweep

_LONGEST_WAIT_S: Final = 30.0
"""The file is looked at again so often, and the clock may have been set."""

_log = structlog.get_logger(__name__)


def moments(sweep: Sweep, after: float) -> Iterator[float]:
    """The moments of a sweep's schedule after one, in UTC seconds since the epoch; none without a schedule."""
    if sweep.schedule is None:
        return
    start = datetime.fromtimestamp(after, ZoneInfo(sweep.timezone))
    for moment in croniter(sweep.schedule, start).all_next(datetime):
        # In the hour that a clock repeats, a moment may come out before the one that it is to follow.
        if moment.timestamp() > after:
            yield moment.timestamp()


def latest(sweep: Sweep, after: float, now: float) -> float | None:
    """The latest moment of the schedule after `after` and not later than `now`."""
    start = datetime.fromtimestamp(now + 1, ZoneInfo(sweep.timezone))
    for moment in croniter(sweep.schedule, start).all_prev(datetime):
        if moment.timestamp() <= now:
            return float(moment.timestamp()) if moment.timestamp() > after else None
    return None


def slot(engine: Engine, sweep: Sweep, now: float) -> float:
    """The latest moment that was served; a sweep that is new is served as of now."""
    row = _slot(engine, sweep.name)
    if row is not None:
        return row
    try:
        with writing(engine) as connection:
            changed = connection.execute(
                update(SWEEPS).where(SWEEPS.c.name == sweep.name, SWEEPS.c.slot.is_(None)).values(slot=now)
            ).rowcount
            if not changed:
                digest = feed_digest(sweep.feed)
                connection.execute(insert(SWEEPS), {"name": sweep.name, "feed": digest, "cursor": {}, "slot": now})
    except Exception as error:
        if not is_conflict(error):
            raise
    return _slot(engine, sweep.name) or now


def take(engine: Engine, sweep: Sweep, now: float) -> bool:
    """Whether a moment of the sweep's schedule is due, and it is ours to serve."""
    if sweep.schedule is None:
        return False
    served = slot(engine, sweep, now)
    due = latest(sweep, served, now)
    if due is None:
        return False
    with writing(engine) as connection:
        taken = connection.execute(
            update(SWEEPS).where(SWEEPS.c.name == sweep.name, SWEEPS.c.slot == served).values(slot=due)
        )
        return bool(taken.rowcount)


def keep_schedule(
    engine: Engine,
    sweeps: Callable[[], Mapping[str, Sweep]],
    run: Callable[[Sweep], None],
    clock: Callable[[], float],
    stop: threading.Event,
) -> None:
    """Run sweeps as their schedules say, each in a thread of its own, until `stop` is set and all have ended.

    Args:
        engine: The database.
        sweeps: Gives the sweeps as their file has them now.
        run: Runs one; never raises.
        clock: UTC seconds since the epoch.
        stop: Ends it; sweeps that run must heed it too.
    """
    running: dict[str, threading.Thread] = {}
    try:
        while not stop.is_set():
            wanted = sweeps()
            running = {name: thread for name, thread in running.items() if thread.is_alive()}
            for name, sweep in wanted.items():
                if name not in running and take(engine, sweep, clock()):
                    _log.info("a sweep is due", sweep=name)
                    running[name] = threading.Thread(target=run, args=(sweep,), name=f"sweep {name}")
                    running[name].start()
            stop.wait(_wait(engine, wanted, clock()))
    finally:
        stop.set()
        for thread in running.values():
            thread.join()


def _wait(engine: Engine, sweeps: Mapping[str, Sweep], now: float) -> float:
    """Seconds until the next moment, at most `_LONGEST_WAIT_S`."""
    dues = [next(moments(sweep, slot(engine, sweep, now)), None) for sweep in sweeps.values() if sweep.schedule]
    soonest = min((due - now for due in dues if due is not None), default=_LONGEST_WAIT_S)
    # A sweep that is still running may be overdue: it is looked at again soon.
    return min(max(soonest, 1.0), _LONGEST_WAIT_S)


def _slot(engine: Engine, name: str) -> float | None:
    with engine.connect() as connection:
        return connection.execute(select(SWEEPS.c.slot).where(SWEEPS.c.name == name)).scalar_one_or_none()
