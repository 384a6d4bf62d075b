"""What people do to submissions: cancel, retry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from sandbox.database import writing
from sandbox.database.schema import SUBMISSIONS
from sandbox.submissions import outbox
from sandbox.submissions.query import one

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sandbox.submissions.model import Submission


def cancel(engine: Engine, identifier: str, reason: str, now: float) -> Submission | None:
    """Cancel what waits at once; what runs is asked to end, and ends within a heartbeat.

    Args:
        engine: The database.
        identifier: Of the submission.
        reason: Who cancels it, and why; stays with it.
        now: UTC seconds since the epoch.

    Returns:
        The submission as it is now; `None` when there is none.
    """
    table = SUBMISSIONS.c
    with writing(engine) as connection:
        changed = connection.execute(
            update(SUBMISSIONS)
            .where(table.id == identifier, table.state == "queued")
            .values(state="cancelled", cancel=True, ended=now, changed=now, reason=reason, standing=None)
        ).rowcount
        if changed:
            outbox.ended(connection, identifier, "cancelled", now)
        connection.execute(
            update(SUBMISSIONS)
            # Who asked first stands with it. Whoever asks for the same work from now on wants it done, not ended.
            .where(table.id == identifier, table.state == "running", table.cancel.is_(False))
            .values(cancel=True, reason=reason, standing=None)
        )
        return one(connection, identifier)


def retry(engine: Engine, identifier: str, attempts: int, now: float) -> Submission | None:
    """Queue a dead, failed or cancelled submission again, with so many further attempts. `None`: no such submission."""
    table = SUBMISSIONS.c
    with writing(engine) as connection:
        changed = connection.execute(
            update(SUBMISSIONS)
            .where(table.id == identifier, table.state.in_(("dead", "failed", "cancelled")))
            .values(
                state="queued",
                cancel=False,
                ended=None,
                changed=now,
                reason="",
                not_before=0.0,
                budget=table.attempt + attempts,
            )
        ).rowcount
        if changed:
            outbox.again(connection, identifier, now)
        return one(connection, identifier)
