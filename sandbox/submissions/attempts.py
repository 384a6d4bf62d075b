"""Attempts at a submission: claimed, kept alive, ended. Every change is a compare-and-swap on (submission, attempt).

Whoever comes second finds nothing to change, and is told so: a claim that another worker made, a result of an attempt
whose lease was lost. So exactly one result counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import insert, select, update

from sandbox.database import writing
from sandbox.database.counters import Tally
from sandbox.database.schema import ATTEMPTS, SUBMISSIONS
from sandbox.submissions import outbox
from sandbox.submissions.model import Submission
from sandbox.submissions.query import one, read

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Who works at what."""

    submission: str
    number: int
    owner: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to."""

    state: Literal["done", "failed", "cancelled"]
    reason: str = ""
    run: str | None = None
    sha256: str = ""
    verdict: str = ""
    progress: dict[str, Any] = {}
    """How far it came, as the row shows it."""


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A submission whose lease ran out, as it is now."""

    submission: Submission
    """`queued` again, or `dead`."""
    owner: str
    """Who had it."""


def claim(engine: Engine, attempt: Attempt, now: float, lease_s: float) -> Submission | None:
    """Begin an attempt; `None` when it is not there to be had: ended, cancelled, or claimed by another."""
    table = SUBMISSIONS.c
    with writing(engine) as connection:
        changed = connection.execute(
            update(SUBMISSIONS)
            .where(
                table.id == attempt.submission,
                table.state == "queued",
                table.attempt == attempt.number - 1,
                table.cancel.is_(False),
            )
            .values(
                state="running",
                attempt=attempt.number,
                owner=attempt.owner,
                lease_until=now + lease_s,
                changed=now,
                progress={},
            )
        ).rowcount
        if not changed:
            return None
        connection.execute(
            insert(ATTEMPTS),
            {
                "submission": attempt.submission,
                "attempt": attempt.number,
                "owner": attempt.owner,
                "started": now,
                "ended": None,
                "outcome": "running",
                "reason": "",
                "run": None,
            },
        )
        return one(connection, attempt.submission)


def beat(engine: Engine, attempt: Attempt, now: float, lease_s: float, progress: dict[str, Any]) -> bool | None:
    """Prolong the lease.

    Returns:
        Whether somebody asked for the end of the submission; `None` when the attempt is no longer ours.
    """
    with writing(engine) as connection:
        row = connection.execute(
            update(SUBMISSIONS)
            .where(*_ours(attempt))
            .values(lease_until=now + lease_s, progress=progress)
            .returning(SUBMISSIONS.c.cancel)
        ).first()
        return None if row is None else bool(row[0])


def finish(connection: Connection, attempt: Attempt, result: Result, now: float, tally: Tally | None = None) -> bool:
    """End an attempt, within the caller's transaction, in which its rows are written too.

    Args:
        connection: The transaction's.
        attempt: Which.
        result: What it came to.
        now: UTC seconds since the epoch.
        tally: Takes what is to be counted, for the caller to write as the last step; without one it is written here.

    Returns:
        Whether the result counts. When not, the attempt was lost and is noted as `late`; the caller's rows of the run
        are as welcome as before, since they tell what the bundle holds.
    """
    table = SUBMISSIONS.c
    final = {"done": "done", "failed": "failed", "cancelled": "cancelled"}[result.state]
    row = connection.execute(
        update(SUBMISSIONS)
        .where(*_ours(attempt))
        .values(
            state=final,
            ended=now,
            changed=now,
            owner="",
            lease_until=0.0,
            # Of a cancelled one the row says who cancelled it and why; what became of its run is the attempt's.
            reason=table.reason if final == "cancelled" else result.reason,
            run=result.run,
            sha256=result.sha256,
            verdict=result.verdict,
            progress=result.progress,
            standing=None,
        )
        .returning(table.identity, table.lane)
    ).first()
    counted = tally or Tally()
    outcome = final if row else "late"
    _end(connection, attempt, now, counted, outcome=outcome, reason=result.reason, run=result.run)
    if row is not None:
        _over(connection, attempt.submission, row.lane, final, now, counted)
    if row is not None and result.state == "done":
        # From now on this one answers for its work, in place of one that was forced aside.
        others = (table.standing == row[0], table.state.in_(("done", "failed", "dead", "cancelled")))
        connection.execute(update(SUBMISSIONS).where(*others).values(standing=None))
        free = ~select(table.id).where(table.standing == row[0]).correlate(None).exists()
        connection.execute(update(SUBMISSIONS).where(table.id == attempt.submission, free).values(standing=row[0]))
    if tally is None:
        counted.write(connection)
    return row is not None


def hand_back(engine: Engine, attempt: Attempt, reason: str, now: float) -> bool:
    """Queue a submission again because its worker has to stop; that does not count against its budget.

    One whose end was asked for is cancelled instead: nobody claims such a one again.

    Returns:
        Whether the attempt was ours.
    """
    back = {"state": "queued", "owner": "", "lease_until": 0.0, "changed": now}
    with writing(engine) as connection:
        tally = Tally()
        ours = bool(
            connection.execute(
                update(SUBMISSIONS)
                .where(*_ours(attempt), SUBMISSIONS.c.cancel.is_(False))
                .values(**back, budget=SUBMISSIONS.c.budget + 1)
            ).rowcount
        )
        if ours:
            _end(connection, attempt, now, tally, outcome="handed-back", reason=reason)
        else:
            ours = _lose(connection, attempt, reason, now, tally) is not None
        tally.write(connection)
        return ours


def lose(engine: Engine, attempt: Attempt, reason: str, now: float, pause_s: float = 0.0) -> Submission | None:
    """Give up an attempt that went wrong: queued again, or dead when its budget is used up.

    Args:
        engine: The database.
        attempt: Which.
        reason: What went wrong, for people.
        now: UTC seconds since the epoch.
        pause_s: How long to wait before it is tried again, as what went wrong may last.

    Returns:
        The submission as it is now; `None` when the attempt was not ours any more.
    """
    with writing(engine) as connection:
        tally = Tally()
        changed = _lose(connection, attempt, reason, now, tally, pause_s)
        tally.write(connection)
        return changed


def lose_expired(engine: Engine, now: float) -> list[Lost]:
    """Take back every submission whose lease ran out: its worker, or the whole host, is gone."""
    return _lose_all(engine, now, "its lease ran out", SUBMISSIONS.c.lease_until < now)


def lose_owned(engine: Engine, owner: str, reason: str, now: float) -> list[Lost]:
    """Take back what an owner had that is known to be gone."""
    return _lose_all(engine, now, reason, SUBMISSIONS.c.owner == owner)


def _lose_all(engine: Engine, now: float, reason: str, which: ColumnElement[bool]) -> list[Lost]:
    with writing(engine) as connection:
        # In order, as another host may be about the same.
        running = select(SUBMISSIONS).where(SUBMISSIONS.c.state == "running", which).order_by(SUBMISSIONS.c.id)
        rows = connection.execute(running).mappings()
        lost, tally = [], Tally()
        for row in [read(row) for row in rows]:
            attempt = Attempt(submission=row.id, number=row.attempt, owner=row.owner)
            changed = _lose(connection, attempt, f"{reason}: {row.owner} is gone", now, tally)
            if changed is not None:
                lost.append(Lost(submission=changed, owner=row.owner))
                tally.add("leases_lost_total")
        tally.write(connection)
        return lost


def _lose(  # noqa: PLR0913, PLR0917 - what `lose` was given
    connection: Connection, attempt: Attempt, reason: str, now: float, tally: Tally, pause_s: float = 0.0
) -> Submission | None:
    current = one(connection, attempt.submission)
    if current is None:
        return None
    if current.cancel:
        values: dict[str, Any] = {"state": "cancelled", "ended": now, "standing": None}
    elif attempt.number < current.budget:
        values = {"state": "queued", "not_before": now + pause_s, "reason": reason}
    else:
        said = f"given up after {attempt.number} attempts, the last one because {reason}"
        values = {"state": "dead", "ended": now, "reason": said, "standing": None}
    changed = connection.execute(
        update(SUBMISSIONS).where(*_ours(attempt)).values(owner="", lease_until=0.0, changed=now, **values)
    ).rowcount
    if not changed:
        return None
    _end(connection, attempt, now, tally, outcome="lost", reason=reason)
    if values["state"] != "queued":
        _over(connection, attempt.submission, current.lane, values["state"], now, tally)
    return one(connection, attempt.submission)


def _ours(attempt: Attempt) -> tuple[Any, ...]:
    table = SUBMISSIONS.c
    return (
        table.id == attempt.submission,
        table.attempt == attempt.number,
        table.state == "running",
        table.owner == attempt.owner,
    )


def _over(  # noqa: PLR0913, PLR0917 - what there is to say
    connection: Connection, submission: str, lane: str, state: str, now: float, tally: Tally
) -> None:
    """A submission has its final state: whoever wants to know is told."""
    outbox.ended(connection, submission, state, now)
    tally.add("submissions_ended_total", state=state, lane=lane)


def _end(  # noqa: PLR0913 - one keyword for each column
    connection: Connection,
    attempt: Attempt,
    now: float,
    tally: Tally,
    *,
    outcome: str,
    reason: str,
    run: str | None = None,
) -> None:
    tally.add("attempts_total", outcome=outcome)
    connection.execute(
        update(ATTEMPTS)
        .where(ATTEMPTS.c.submission == attempt.submission, ATTEMPTS.c.attempt == attempt.number)
        .values(ended=now, outcome=outcome, reason=reason, run=run)
    )
