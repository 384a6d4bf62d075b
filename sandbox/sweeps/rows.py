"""A sweep's rows: who runs it, where its feed goes on, and what became of each package.

A page of a feed and the cursor after it are committed together, as `pending` entries; each is then settled on its own.
So whatever is killed, and when: no package is lost, and none is submitted twice.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from sandbox.database import writing
from sandbox.database.schema import SWEEP_ENTRIES, SWEEP_RUNS, SWEEPS
from sandbox.errors import SweepBusyError, SweepLostError
from sandbox.submissions import identifiers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Engine

    from sandbox.sweeps.feeds.feed import Cursor, Page
    from sandbox.sweeps.plan import Artefact, FeedPlan, Sweep

EntryState: TypeAlias = Literal["pending", "submitted", "existing", "skipped", "gone", "unreadable"]
Ending: TypeAlias = Literal["complete", "budget", "interrupted", "failed"]

_KEPT_S: Final = 90 * 86_400.0
"""How long it is known what a sweep named, and why it was run or passed over. Submissions and runs stay."""
_MOST_NOTES: Final = 50
_LONGEST: Final = 1_000
"""Characters of a sentence."""


class SweepRun(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep under way, and whose it is."""

    id: str
    sweep: str
    owner: str
    started: float
    cursor: dict[str, Any]
    """Where its feed goes on."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A package that is not settled yet."""

    id: int
    purl: str
    artefact: Literal["auto", "wheel", "sdist"]
    why: str
    tries: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a package."""

    state: EntryState
    reason: str = ""
    release: str = ""
    submission: str | None = None
    tries: int = 0


def feed_digest(plan: FeedPlan) -> str:
    """A cursor is of one plan of a feed; with another the feed is read from its beginning."""
    return hashlib.sha256(msgspec.json.encode(plan)).hexdigest()


def peek(engine: Engine, sweep: Sweep) -> Cursor:
    """The cursor at which the next run would begin."""
    with engine.connect() as connection:
        row = connection.execute(select(SWEEPS).where(SWEEPS.c.name == sweep.name)).first()
    return dict(row.cursor) if row is not None and row.feed == feed_digest(sweep.feed) else {}


def begin(engine: Engine, sweep: Sweep, owner: str, now: float, lease_s: float) -> SweepRun:
    """Begin a run of a sweep, with what earlier ones left over as its first packages.

    A run whose process is gone is ended as `interrupted`, and this one goes on in its place.

    Raises:
        SweepBusyError: It is running.
    """
    try:
        with writing(engine) as connection:
            _end_lost(connection, sweep.name, now)
            run = SweepRun(
                id=identifiers.new(now),
                sweep=sweep.name,
                owner=owner,
                started=now,
                cursor=_cursor(connection, sweep, now),
            )
            connection.execute(insert(SWEEP_RUNS), _row(run, now + lease_s))
            connection.execute(
                update(SWEEP_ENTRIES)
                .where(SWEEP_ENTRIES.c.sweep == sweep.name, SWEEP_ENTRIES.c.state == "pending")
                .values(run=run.id)
            )
            # What is not settled went along with the newest run, so none of it is forgotten.
            old = (SWEEP_RUNS.c.sweep == sweep.name, SWEEP_RUNS.c.ended < now - _KEPT_S)
            connection.execute(delete(SWEEP_RUNS).where(*old))
            return run
    except IntegrityError as error:
        raise SweepBusyError(f"the sweep {sweep.name!r} was begun elsewhere a moment ago") from error


def hold(engine: Engine, run: SweepRun, now: float, lease_s: float) -> bool:
    """Prolong the lease; false when the run is not ours any more."""
    with writing(engine) as connection:
        return _hold(connection, run, lease_until=now + lease_s)


def add_page(engine: Engine, run: SweepRun, page: Page, artefacts: Iterable[Artefact]) -> int:
    """Commit a page: its packages as pending, its cursor, and what it could not see.

    Returns:
        How many packages are new in this run.

    Raises:
        SweepLostError: The run is not ours any more; nothing is committed.
    """
    with writing(engine) as connection:
        if not _hold(connection, run):
            raise SweepLostError(f"another process has taken over the sweep {run.sweep!r}; this one stops")
        connection.execute(update(SWEEPS).where(SWEEPS.c.name == run.sweep).values(cursor=page.cursor))
        note(connection, run, page.bad, page.notes)
        # All of them, not those of the page: a page may hold more than a statement has parameters.
        known = set(connection.scalars(select(SWEEP_ENTRIES.c.purl).where(SWEEP_ENTRIES.c.run == run.id)))
        fresh = {entry.purl: entry for entry in page.entries if entry.purl not in known}
        made = [
            {
                "run": run.id,
                "sweep": run.sweep,
                "purl": entry.purl,
                "artefact": artefact,
                "why": _stored(entry.why),
                "state": "pending",
                "reason": "",
                "release": "",
                "tries": 0,
                "submission": None,
            }
            for entry in fresh.values()
            for artefact in artefacts
        ]
        if made:
            connection.execute(insert(SWEEP_ENTRIES), made)
        return len(fresh)


def note(connection: Connection, run: SweepRun, bad: int, notes: Iterable[str]) -> None:
    """Add to what a run could not see; each sentence once."""
    row = connection.execute(select(SWEEP_RUNS.c.notes).where(SWEEP_RUNS.c.id == run.id)).scalar_one()
    told = list(dict.fromkeys([*row, *notes]))[:_MOST_NOTES]
    connection.execute(
        update(SWEEP_RUNS).where(SWEEP_RUNS.c.id == run.id).values(bad=SWEEP_RUNS.c.bad + bad, notes=told)
    )


def pending(engine: Engine, run: SweepRun, after: int, limit: int) -> list[Pending]:
    """The next packages that are not settled, in their feed's order."""
    table = SWEEP_ENTRIES.c
    with engine.connect() as connection:
        rows = connection.execute(
            select(table.id, table.purl, table.artefact, table.why, table.tries)
            .where(table.run == run.id, table.state == "pending", table.id > after)
            .order_by(table.id)
            .limit(limit)
        ).mappings()
        return [msgspec.convert({str(key): value for key, value in row.items()}, Pending) for row in rows]


def settle(engine: Engine, run: SweepRun, entry: Pending, settled: Settled) -> None:
    """Say what became of a package.

    Raises:
        SweepLostError: It is another run's by now.
    """
    with writing(engine) as connection:
        changed = connection.execute(
            update(SWEEP_ENTRIES)
            .where(SWEEP_ENTRIES.c.id == entry.id, SWEEP_ENTRIES.c.run == run.id, SWEEP_ENTRIES.c.state == "pending")
            .values(
                state=settled.state,
                reason=_stored(settled.reason),
                release=settled.release,
                submission=settled.submission,
                tries=settled.tries,
            )
        ).rowcount
    if not changed:
        raise SweepLostError(f"another process has taken over the sweep {run.sweep!r}; this one stops")


def end(engine: Engine, run: SweepRun, state: Ending, reason: str, now: float) -> None:
    """End a run; nothing happens when it is not ours any more."""
    with writing(engine) as connection:
        connection.execute(
            update(SWEEP_RUNS)
            .where(SWEEP_RUNS.c.id == run.id, SWEEP_RUNS.c.owner == run.owner, SWEEP_RUNS.c.state == "running")
            .values(state=state, reason=_stored(reason), ended=now, active=None, owner="", lease_until=0.0)
        )


def counts(connection: Connection, run: str) -> dict[EntryState, int]:
    """How many packages of a run are in which state."""
    table = SWEEP_ENTRIES.c
    rows = connection.execute(select(table.state, func.count()).where(table.run == run).group_by(table.state))
    return {state: count for state, count in rows}  # noqa: C416 - rows are no pairs to the type checker


def _end_lost(connection: Connection, name: str, now: float) -> None:
    row = connection.execute(select(SWEEP_RUNS).where(SWEEP_RUNS.c.active == name)).first()
    if row is None:
        return
    if row.lease_until >= now:
        seconds = int(row.lease_until - now) + 1
        raise SweepBusyError(
            f"the sweep {name!r} is being run by {row.owner}; if that is gone, try again in {seconds} seconds"
        )
    connection.execute(
        update(SWEEP_RUNS)
        .where(SWEEP_RUNS.c.id == row.id)
        .values(
            state="interrupted",
            reason=f"{row.owner} was not heard of any more",
            ended=row.lease_until,
            active=None,
            owner="",
            lease_until=0.0,
        )
    )


def _cursor(connection: Connection, sweep: Sweep, now: float) -> Cursor:
    digest = feed_digest(sweep.feed)
    row = connection.execute(select(SWEEPS).where(SWEEPS.c.name == sweep.name)).first()
    if row is None:
        connection.execute(insert(SWEEPS), {"name": sweep.name, "feed": digest, "cursor": {}, "slot": now})
        return {}
    if row.feed == digest:
        return dict(row.cursor)
    connection.execute(update(SWEEPS).where(SWEEPS.c.name == sweep.name).values(feed=digest, cursor={}))
    return {}


def _hold(connection: Connection, run: SweepRun, **changes: float) -> bool:
    """Whether the run is ours, and stays so until the end of the transaction."""
    held = connection.execute(
        update(SWEEP_RUNS)
        .where(SWEEP_RUNS.c.id == run.id, SWEEP_RUNS.c.owner == run.owner, SWEEP_RUNS.c.state == "running")
        .values(owner=run.owner, **changes)
    )
    return bool(held.rowcount)


def _row(run: SweepRun, until: float) -> dict[str, Any]:
    return {
        "id": run.id,
        "sweep": run.sweep,
        "active": run.sweep,
        "state": "running",
        "started": run.started,
        "ended": None,
        "reason": "",
        "owner": run.owner,
        "lease_until": until,
        "bad": 0,
        "notes": [],
    }


def _stored(text: str) -> str:
    """Text as every database takes it, bounded: PostgreSQL has no NUL, and no half of a surrogate pair."""
    return text[:_LONGEST].replace("\0", "�").encode("utf-8", "replace").decode()
