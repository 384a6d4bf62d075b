"""Whether the service does what it is for; false when somebody should look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from sandbox.database import is_current
from sandbox.submissions import lanes, query, workers

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

ESCALATION_S: Final = 600
"""An escalation that waits for longer is a failure of the service."""


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
        A check for each thing; those that need the database are left out when it does not answer.
    """
    found = [_database(engine), _redis(redis)]
    if found[0].ok:
        found += [_workers(engine, now), _escalations(engine, now)]
    if room_mb is not None:
        ok = room_mb >= wanted_mb
        advice = "" if ok else f", {wanted_mb} MiB are wanted: nothing is begun until there is more"
        found.append(Check(name="evidence disk", ok=ok, told=f"{room_mb} MiB are free{advice}"))
    return found


def _database(engine: Engine) -> Check:
    try:
        current = is_current(engine)
    except DBAPIError:
        return Check(name="database", ok=False, told="it does not answer: is it running, and the URL right?")
    told = "" if current else "its tables are of another version: start `fumehood serve` or `worker` of the newest one"
    return Check(name="database", ok=current, told=told or "it answers")


def _redis(redis: Redis | None) -> Check:
    if redis is None:
        return Check(
            name="redis", ok=False, told="none is configured here: workers look for what is submitted by themselves"
        )
    try:
        redis.ping()
    except RedisError:
        told = "it does not answer: submissions are taken, but none is begun"
        return Check(name="redis", ok=False, told=told)
    return Check(name="redis", ok=True, told="it answers")


def _workers(engine: Engine, now: float) -> Check:
    alive = [row for row in workers.listed(engine) if now - row.seen < workers.GONE_S and not row.draining]
    if not alive:
        return Check(name="workers", ok=False, told="none was seen lately: start `fumehood worker`, or `fumehood up`")
    return Check(name="workers", ok=True, told=f"{len(alive)} with {sum(row.slots for row in alive)} slots")


def _escalations(engine: Engine, now: float) -> Check:
    oldest = query.depths(engine)["escalation"].oldest
    waits = 0.0 if oldest is None else max(0.0, now - oldest)
    if waits < ESCALATION_S:
        return Check(name="escalations", ok=True, told=f"the oldest waits for {waits:.0f} s" if waits else "none waits")
    paused = lanes.paused(engine).get("escalation")
    why = f"its lane is paused ({paused})" if paused is not None else "add workers, or look at what they do"
    return Check(name="escalations", ok=False, told=f"one waits for {waits:.0f} s: {why}")
