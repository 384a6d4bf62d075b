"""Reads submissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from sandbox.database.schema import SUBMISSIONS
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


def same_artefact(
    engine: Engine, row: Submission, sha256: str, profile_sha256: str, rules_sha256: str
) -> Submission | None:
    """The submission that was done before with what this one turns out to be, under another name perhaps.

    None also for a submission that stands for nothing: it was forced, or is a second chance, and is wanted again.
    """
    if row.standing is None:
        return None
    table = SUBMISSIONS.c
    same = (
        table.sha256 == sha256,
        table.profile_sha256 == profile_sha256,
        table.rules_sha256 == rules_sha256,
        table.pod == row.pod,
        table.runtime == row.runtime,
    )
    answers = (table.state == "done", table.standing.is_not(None), table.id != row.id)
    with engine.connect() as connection:
        found = (
            connection.execute(select(SUBMISSIONS).where(*same, *answers).order_by(table.ended.desc()).limit(1))
            .mappings()
            .first()
        )
    return read(found) if found else None


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
