"""Finds submissions, a page at a time, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, desc, or_, select, tuple_

from sandbox.database.schema import ATTEMPTS, SUBMISSIONS
from sandbox.submissions.model import Lane, State, Submission
from sandbox.submissions.query import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Engine, Select


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which submissions; `None` for all."""

    state: State | None = None
    lane: Lane | None = None
    verdict: str | None = None
    package: str | None = None
    """A purl; one without a version stands for all of its versions."""
    sha256: str | None = None
    """Of the artefact that ran, or of the upload."""
    submitter: str | None = None
    origin: str | None = None
    since: float | None = None
    """Submitted then or later."""
    until: float | None = None
    """Submitted before."""


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a submission; `sandbox.database.schema` says what each column means."""

    attempt: int
    owner: str
    started: float
    ended: float | None
    outcome: str
    reason: str
    run: str | None


def search(engine: Engine, wanted: Filter, after: tuple[float, str] | None, limit: int) -> list[Submission]:
    """Find submissions.

    Args:
        engine: The database.
        wanted: Which ones.
        after: Instant and id of the last one that was seen already; `None` for the beginning.
        limit: How many at most.
    """
    with engine.connect() as connection:
        return [read(row) for row in connection.execute(statement(wanted, after, limit)).mappings()]


def statement(wanted: Filter, after: tuple[float, str] | None, limit: int) -> Select[Any]:
    """What `search` asks the database."""
    table = SUBMISSIONS.c
    conditions = _conditions(wanted)
    if after is not None:
        conditions.append(tuple_(table.created, table.id) < tuple_(*after))
    return select(SUBMISSIONS).where(*conditions).order_by(desc(table.created), desc(table.id)).limit(limit)


def of(engine: Engine, identifiers: Iterable[str]) -> dict[str, Submission]:
    """Submissions by id; ids of none are left out."""
    with engine.connect() as connection:
        rows = connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.id.in_(list(identifiers)))).mappings()
        return {row["id"]: read(row) for row in rows}


def attempts_of(engine: Engine, identifier: str) -> list[AttemptRow]:
    """Every attempt at a submission, the first first."""
    columns = [ATTEMPTS.c[name] for name in AttemptRow.__struct_fields__]
    with engine.connect() as connection:
        rows = connection.execute(
            select(*columns).where(ATTEMPTS.c.submission == identifier).order_by(ATTEMPTS.c.attempt)
        ).mappings()
        return [msgspec.convert({str(name): value for name, value in row.items()}, AttemptRow) for row in rows]


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    table = SUBMISSIONS.c
    equal = ("state", "lane", "verdict", "submitter", "origin")
    conditions = [table[name] == value for name in equal if (value := getattr(wanted, name)) is not None]
    if wanted.package is not None:
        # What begins with `PACKAGE@` is a range of the index, up to the character after the `@`.
        versions = and_(table.package >= f"{wanted.package}@", table.package < f"{wanted.package}A")
        conditions.append(or_(table.package == wanted.package, versions))
    if wanted.sha256 is not None:
        conditions.append(or_(table.sha256 == wanted.sha256, table.upload == wanted.sha256))
    if wanted.since is not None:
        conditions.append(table.created >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.created < wanted.until)
    return conditions
