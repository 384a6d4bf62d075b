"""From the rows of sweeps, submissions and runs to a digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import and_, func, or_, select

from collector.store.schema import FINDINGS, RUNS
from sandbox.database.schema import SUBMISSIONS, SWEEP_ENTRIES, SWEEP_RUNS
from sandbox.sweeps.digest.behaviour import compare, findings_of, previous_release
from sandbox.sweeps.digest.model import BadPart, ChangePart, Digest, ProblemPart, SweepPart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, RowMapping

LISTED: Final = 200
"""Packages of one list; the rest is counted."""
_COUNTING: Final = ("proof", "suspicion")


def gather(engine: Engine, since: float, until: float, sweep: str | None = None) -> Digest:
    """Make a digest.

    Args:
        engine: The database.
        since: Where the span begins, UTC seconds since the epoch.
        until: Where it ends. Digests of spans that follow one another tell of each package once.
        sweep: Only of this sweep; `None` for all.
    """
    with engine.connect() as connection:
        bad: list[BadPart] = []
        changed: list[ChangePart] = []
        unknown: list[ProblemPart] = []
        compared = 0
        for row in _ended(connection, since, until, sweep):
            run = _run(connection, row["run"])
            package = _package(row, run)
            if row["state"] != "done":
                unknown.append(ProblemPart(**package, problem=row["state"], reasons=_sentences([row["reason"]])))
                continue
            if row["verdict"] == "inconclusive":
                reasons = run["reasons"] if run else [row["reason"]]
                unknown.append(ProblemPart(**package, problem="inconclusive", reasons=_sentences(reasons)))
            if row["verdict"] in ("malicious", "suspicious"):
                bad.append(_bad(connection, row, run, package))
            previous = previous_release(connection, run) if run else None
            if run is None or previous is None:
                continue
            compared += 1
            if change := compare(connection, run, previous):
                changed.append(ChangePart(**package, **change))
        bad.sort(key=lambda it: (it.verdict != "malicious", it.before == it.verdict, it.purl))
        changed.sort(key=lambda it: (not (it.gained or it.contacts), it.purl))
        unknown.sort(key=lambda it: (it.problem, it.purl))
        return Digest(
            since=since,
            until=until,
            sweeps=_sweeps(connection, since, until, sweep),
            ended=_counted(connection, SUBMISSIONS.c.state, _in_span(since, until, sweep)),
            verdicts=_counted(
                connection, SUBMISSIONS.c.verdict, (*_in_span(since, until, sweep), SUBMISSIONS.c.state == "done")
            ),
            waiting=sum(_counted(connection, SUBMISSIONS.c.state, _waiting(until, sweep)).values()),
            bad=tuple(bad[:LISTED]),
            compared=compared,
            changed=tuple(changed[:LISTED]),
            unknown=tuple(unknown[:LISTED]),
            left_out={
                "bad": _beyond(bad),
                "changed": _beyond(changed),
                "unknown": _beyond(unknown),
            },
        )


def _of_sweeps(sweep: str | None) -> tuple[ColumnElement[bool], ...]:
    entry = SWEEP_ENTRIES.c
    of = (entry.submission == SUBMISSIONS.c.id, entry.state == "submitted")
    return of if sweep is None else (*of, entry.sweep == sweep)


def _in_span(since: float, until: float, sweep: str | None) -> tuple[ColumnElement[bool], ...]:
    return (*_of_sweeps(sweep), SUBMISSIONS.c.ended >= since, SUBMISSIONS.c.ended < until)


def _waiting(until: float, sweep: str | None) -> tuple[ColumnElement[bool], ...]:
    later = or_(SUBMISSIONS.c.ended.is_(None), SUBMISSIONS.c.ended >= until)
    return (*_of_sweeps(sweep), SUBMISSIONS.c.created < until, later)


def _counted(
    connection: Connection, column: ColumnElement[str], where: Sequence[ColumnElement[bool]]
) -> dict[str, int]:
    found = connection.execute(
        select(column, func.count())
        .select_from(SUBMISSIONS)
        .join(SWEEP_ENTRIES, SWEEP_ENTRIES.c.submission == SUBMISSIONS.c.id)
        .where(*where)
        .group_by(column)
    )
    return dict(sorted((str(key), int(count)) for key, count in found))


def _ended(connection: Connection, since: float, until: float, sweep: str | None) -> Iterator[RowMapping]:
    entry, table = SWEEP_ENTRIES.c, SUBMISSIONS.c
    yield from connection.execute(
        select(
            table.id,
            table.state,
            table.verdict,
            table.reason,
            table.run,
            table.package,
            table.artefact,
            entry.sweep,
            entry.why,
        )
        .select_from(SUBMISSIONS)
        .join(SWEEP_ENTRIES, and_(*_of_sweeps(sweep)))
        .where(*_in_span(since, until, sweep))
        .order_by(table.ended, table.id)
    ).mappings()


def _package(row: RowMapping, run: RowMapping | None) -> dict[str, Any]:
    return {
        "purl": row["package"],
        "artefact": run["kind"] if run else row["artefact"],
        "sweep": row["sweep"],
        "why": row["why"],
        "submission": row["id"],
        "run": row["run"],
    }


def _run(connection: Connection, run: str | None) -> RowMapping | None:
    return connection.execute(select(RUNS).where(RUNS.c.run == run)).mappings().first() if run else None


def _bad(connection: Connection, row: RowMapping, run: RowMapping | None, package: dict[str, Any]) -> BadPart:
    before = None
    if run is not None:
        before = connection.execute(
            select(RUNS.c.verdict)
            .where(RUNS.c.name == run["name"], RUNS.c.created < run["created"], RUNS.c.run != run["run"])
            .order_by(RUNS.c.created.desc())
            .limit(1)
        ).scalar()
    counting = FINDINGS.c.weight.in_(_COUNTING)
    return BadPart(
        **package,
        verdict=row["verdict"],
        classification=run["classification"] if run else "",
        reasons=_sentences(run["reasons"] if run else [row["reason"]]),
        findings=findings_of(connection, run["run"], counting) if run else (),
        before=before or "",
    )


def _sentences(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text[:500] for text in texts if text)[:10]


def _sweeps(connection: Connection, since: float, until: float, sweep: str | None) -> tuple[SweepPart, ...]:
    """Runs of sweeps that were going on in the span."""
    table = SWEEP_RUNS.c
    going_on = and_(table.started < until, or_(table.ended.is_(None), table.ended >= since))
    only = () if sweep is None else (table.sweep == sweep,)
    found = connection.execute(select(SWEEP_RUNS).where(going_on, *only).order_by(table.started)).mappings().all()
    return tuple(_sweep(connection, row) for row in found)


def _sweep(connection: Connection, row: RowMapping) -> SweepPart:
    entry = SWEEP_ENTRIES.c
    mine = entry.run == row["id"]
    states = connection.execute(select(entry.state, func.count()).where(mine).group_by(entry.state))
    reasons = connection.execute(
        select(entry.reason, func.count())
        .where(mine, entry.state.in_(("skipped", "gone", "unreadable")))
        .group_by(entry.reason)
        .order_by(func.count().desc(), entry.reason)
        .limit(20)
    )
    return SweepPart(
        sweep=row["sweep"],
        run=row["id"],
        state=row["state"],
        reason=row["reason"],
        started=row["started"],
        ended=row["ended"],
        counts=dict(sorted((str(state), int(count)) for state, count in states)),
        passed_over={str(reason): int(count) for reason, count in reasons},
        bad=row["bad"],
        notes=tuple(row["notes"]),
    )


def _beyond(parts: Sequence[object]) -> int:
    return max(len(parts) - LISTED, 0)


def to_json(digest: Digest) -> bytes:
    """The digest for machines, indented, with a line end."""
    # ASCII alone: what a package wrote cannot drive a terminal from here either.
    return json.dumps(msgspec.to_builtins(digest), indent=2).encode() + b"\n"
