"""Whether the service does what it is for; false when somebody should look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from sqlalchemy.exc import DBAPIError

from sandbox.database import NEWER, is_current, is_made, is_newer
from sandbox.submissions import lanes, query, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis
    from sqlalchemy import Engine

ESCALATION_S: Final = 600
"""An escalation that waits for longer is a failure of the service."""
_SHOWN: Final = 3


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that has to hold."""

    name: str
    ok: bool
    told: str = ""
    """What is wrong, and what to do; how things are when nothing is."""


def checks(
    engine: Engine, redis: Redis | None, now: float, room_mb: int | None = None, wanted_mb: int = 0
) -> list[Check]:
    """Look at everything.

    Args:
        engine: The database.
        redis: Redis; None when none is configured.
        now: UTC seconds since the epoch.
        room_mb: What is free for evidence on this host, MiB; None where this host runs nothing.
        wanted_mb: What has to be free there.

    Returns:
        A check for each thing, always the same ones: what cannot be known fails, and says so.
    """
    found = [_database(engine), _redis(redis)]
    for name, look in (("workers", _workers), ("escalations", _escalations)):
        found.append(_asked(name, lambda look=look: look(engine, now), known=found[0].ok))  # type: ignore[misc]
    if room_mb is not None:
        ok = room_mb >= wanted_mb
        advice = "" if ok else f", {wanted_mb} MiB are wanted (`worker.free_mb`): no run is begun until there are"
        found.append(Check(name="evidence disk", ok=ok, told=f"{room_mb} MiB are free{advice}"))
    return found


def _database(engine: Engine) -> Check:
    try:
        made = is_made(engine)
        current = made and is_current(engine)
        newer = made and not current and is_newer(engine)
    except DBAPIError:
        return Check(name="database", ok=False, told="it does not answer; `fumehood config check` says why")
    if current:
        return Check(name="database", ok=True, told="it answers")
    if newer:
        return Check(name="database", ok=False, told=NEWER)
    start = "`fumehood up`, `serve` or `worker`"
    told = f"its tables are of another version: {start} of the newest one brings them up to date"
    return Check(name="database", ok=False, told=told if made else f"it is not made yet: {start} makes it")


def _asked(name: str, look: Callable[[], Check], *, known: bool) -> Check:
    try:
        if known:
            return look()
    except DBAPIError:
        pass
    return Check(name=name, ok=False, told="cannot be known without the database")


def _redis(redis: Redis | None) -> Check:
    waits = "what is submitted is kept and waits for it, and no run is begun"
    if redis is None:
        told = f"none runs here: {waits}; start `fumehood up`, or name one that runs elsewhere (`redis:`)"
        return Check(name="redis", ok=False, told=told)
    try:
        redis.ping()
    except RedisError as error:
        said = "it refuses us" if isinstance(error, AuthenticationError | ResponseError) else "it does not answer"
        return Check(name="redis", ok=False, told=f"{said}: {waits}; `fumehood config check` says why")
    return Check(name="redis", ok=True, told="it answers")


def _workers(engine: Engine, now: float) -> Check:
    known = workers.listed(engine)
    alive = workers.alive(known, now)
    silent = [f"{row.name} for {_span(now - row.seen)}" for row in known if row not in alive]
    working = [row for row in alive if not row.draining]
    if working:
        slots = sum(row.slots for row in working)
        told = f"{len(working)} with {slots} {'slot' if slots == 1 else 'slots'}"
        return Check(name="workers", ok=True, told=f"{told}; silent: {_few(silent)}" if silent else told)
    if alive:
        told = f"all that are left drain ({_few([row.name for row in alive])}): start another `fumehood worker`"
    elif silent:
        told = f"all are silent ({_few(silent)}): are their hosts up, and do they reach the database?"
    else:
        told = "there is none: start `fumehood worker`, or `fumehood up`"
    return Check(name="workers", ok=False, told=told)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _span(seconds: float) -> str:
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return f"{hours} h" if hours else f"{minutes} min"


def _escalations(engine: Engine, now: float) -> Check:
    oldest = query.depths(engine)["escalation"].oldest
    waits = 0.0 if oldest is None else max(0.0, now - oldest)
    if waits < ESCALATION_S:
        return Check(name="escalations", ok=True, told=f"the oldest waits for {waits:.0f} s" if waits else "none waits")
    paused = lanes.paused(engine).get("escalation")
    why = f"its lane is paused ({paused})" if paused is not None else "add workers, or look at what they do"
    return Check(name="escalations", ok=False, told=f"one waits for {waits:.0f} s: {why}")
