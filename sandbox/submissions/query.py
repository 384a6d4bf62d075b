"""Reads submissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from sandbox.database.schema import ATTEMPTS, SUBMISSIONS
from sandbox.submissions.model import LANES, Submission

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, RowMapping

    from sandbox.submissions.model import Lane


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits in a lane."""

    queued: int
    running: int
    oldest: float | None
    """When the submission that waits longest came in; `None` when none waits."""


def read(row: RowMapping) -> Submission:
    """A row of the table as data."""
    # The names of columns are more than plain strings.
    return msgspec.convert({str(name): value for name, value in row.items()}, Submission)


def get(engine: Engine, identifier: str) -> Submission | None:
    """The submission of that name, if there is one."""
    with engine.connect() as connection:
        return one(connection, identifier)


def one(connection: Connection, identifier: str) -> Submission | None:
    """The same within the caller's transaction."""
    row = connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.id == identifier)).mappings().first()
    return read(row) if row else None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of attempts; `sandbox.database.schema` says what each column means."""

    submission: str
    attempt: int
    owner: str
    started: float
    ended: float | None
    outcome: str
    reason: str
    run: str | None


def attempts_at(engine: Engine, identifier: str) -> list[AttemptRow]:
    """The attempts at a submission, the first one first."""
    table = ATTEMPTS.c
    with engine.connect() as connection:
        rows = connection.execute(
            select(ATTEMPTS).where(table.submission == identifier).order_by(table.attempt)
        ).mappings()
        return [msgspec.convert({str(name): value for name, value in row.items()}, AttemptRow) for row in rows]


def latest(engine: Engine, *, lane: str | None = None, state: str | None = None, limit: int = 50) -> list[Submission]:
    """Submissions, the latest first."""
    table = SUBMISSIONS.c
    wanted = [column == value for column, value in ((table.lane, lane), (table.state, state)) if value is not None]
    with engine.connect() as connection:
        rows = connection.execute(
            select(SUBMISSIONS).where(*wanted).order_by(table.created.desc(), table.id.desc()).limit(limit)
        ).mappings()
        return [read(row) for row in rows]


def depths(engine: Engine) -> dict[Lane, Depth]:
    """What waits and what runs, by lane."""
    table = SUBMISSIONS.c
    with engine.connect() as connection:
        rows = connection.execute(
            select(table.lane, table.state, func.count(), func.min(table.created))
            .where(table.state.in_(("queued", "running")))
            .group_by(table.lane, table.state)
        ).all()
    counted = {(lane, state): (count, oldest) for lane, state, count, oldest in rows}
    return {
        lane: Depth(
            queued=counted.get((lane, "queued"), (0, None))[0],
            running=counted.get((lane, "running"), (0, None))[0],
            oldest=counted.get((lane, "queued"), (0, None))[1],
        )
        for lane in LANES
    }
