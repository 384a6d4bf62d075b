"""Lanes that are paused: what waits in them stays there, what runs goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from sandbox.database import writing
from sandbox.database.schema import LANES

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sandbox.submissions.model import Lane


def paused(engine: Engine) -> dict[Lane, str]:
    """The lanes that are paused, with the reason."""
    with engine.connect() as connection:
        rows = connection.execute(select(LANES.c.lane, LANES.c.reason).where(LANES.c.paused)).all()
    return {row.lane: row.reason for row in rows}


def pause(engine: Engine, lane: Lane, reason: str, now: float) -> None:
    """Begin nothing more from a lane."""
    _set(engine, lane, reason, now, paused=True)


def resume(engine: Engine, lane: Lane, now: float) -> None:
    """Go on with a lane."""
    _set(engine, lane, "", now, paused=False)


def _set(engine: Engine, lane: Lane, reason: str, now: float, *, paused: bool) -> None:
    with writing(engine) as connection:
        connection.execute(delete(LANES).where(LANES.c.lane == lane))
        connection.execute(insert(LANES), {"lane": lane, "paused": paused, "reason": reason, "changed": now})
