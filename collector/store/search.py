"""Searches runs, the newest first, in pages that cost the same however many runs there are."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec
from packageurl import PackageURL
from packaging.utils import canonicalize_name
from sqlalchemy import and_, func, literal, select, tuple_

from collector.errors import SearchError
from collector.store.runs import Run, read_runs
from collector.store.schema import RUNS, TERMS
from collector.store.stored import TERM, stored
from collector.store.terms import wanted_indicator
from collector.verdict import VerdictName

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

MOST: Final = 500
"""Runs of one page."""
_COUNTED: Final = 2_000
"""So far is counted to see which condition leaves the fewest runs."""
_LAST: Final = "\U0010ffff"


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What runs must be like; all that is given must hold."""

    package: str = ""
    """A name, `NAME*` for all that begin so, or a purl."""
    version: str = ""
    sha256: str = ""
    """Of the artefact or of a file that it left."""
    indicator: str = ""
    """A domain (with all below it), an address, a URL or a SHA-256; may be written harmlessly (`evil[.]example`)."""
    rule: str = ""
    """Name or Sigma id of a rule that fired."""
    technique: str = ""
    """ATT&CK technique; one with parts finds its parts too."""
    label: str = ""
    profile: str = ""
    verdicts: tuple[VerdictName, ...] = ()
    """Any of these; empty for all."""
    since: float | None = None
    """Runs begun then or later, UTC seconds since the epoch."""
    until: float | None = None
    """Runs begun before then."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the runs that were found."""

    runs: tuple[Run, ...]
    cursor: str
    """Where the next page begins; empty when there is none."""


def search(connection: Connection, wanted: Search, *, cursor: str = "", limit: int = 50) -> Page:
    """Find runs, the newest first.

    Args:
        connection: To the database.
        wanted: What they must be like.
        cursor: Of the page before; empty for the first one.
        limit: Runs of a page, at most `MOST`.

    Raises:
        SearchError: The purl or the cursor cannot be read.
    """
    limit = max(1, min(limit, MOST))
    rows = connection.execute(statement(connection, wanted, cursor, limit + 1)).mappings().all()
    runs = read_runs(connection, rows[:limit])
    return Page(runs=runs, cursor=_cursor(runs[-1]) if len(rows) > limit else "")


def statement(connection: Connection, wanted: Search, cursor: str, limit: int) -> Select[Any]:
    """The query itself.

    The database walks along the index of one condition in the order of the result, and stops when the page is full.
    Which one is for us to say: neither database knows how many runs a term has, and a common one would be walked
    along for the few runs that a rare one has too.
    """
    wanted = _storable(wanted)
    terms = _terms(wanted)
    filters = _filters(wanted)
    driver = _rarest(connection, terms, filters)
    table = RUNS if driver is None else TERMS.alias()
    chosen = select(RUNS)
    if driver is not None:
        chosen = chosen.select_from(table.join(RUNS, RUNS.c.run == table.c.run)).where(*_is(table, driver))
    for term in terms:
        if term != driver:
            other = TERMS.alias()
            same = (other.c.created == RUNS.c.created, other.c.run == RUNS.c.run)
            chosen = chosen.where(select(1).where(*_is(other, term), *same).correlate(RUNS).exists())
    chosen = chosen.where(*filters)
    if wanted.since is not None:
        chosen = chosen.where(table.c.created >= wanted.since)
    if wanted.until is not None:
        chosen = chosen.where(table.c.created < wanted.until)
    if cursor:
        created, run = _position(cursor)
        chosen = chosen.where(tuple_(table.c.created, table.c.run) < tuple_(literal(created), literal(run)))
    return chosen.order_by(table.c.created.desc(), table.c.run.desc()).limit(limit)


def _storable(wanted: Search) -> Search:
    """What is looked for, as it would be if it were stored: a database may not take it otherwise."""
    texts = ("package", "version", "sha256", "indicator", "rule", "technique", "label", "profile")
    return msgspec.structs.replace(wanted, **{name: stored(getattr(wanted, name), TERM) for name in texts})


def _terms(wanted: Search) -> tuple[tuple[str, str], ...]:
    given = [
        ("sha256", wanted.sha256.lower()),
        ("rule", wanted.rule),
        ("technique", wanted.technique.upper()),
        ("label", wanted.label),
    ]
    if wanted.indicator:
        given.append(wanted_indicator(wanted.indicator))
    return tuple((kind, value) for kind, value in given if value)


def _filters(wanted: Search) -> tuple[ColumnElement[bool], ...]:
    """Conditions on rows of runs; each but a version's has an index."""
    made: list[ColumnElement[bool]] = []
    name, version = wanted.package, wanted.version
    if name.startswith("pkg:"):
        purl = _purl(name)
        name, version = purl.name, purl.version or version
    if name.endswith("*"):
        first = canonicalize_name(name.rstrip("*"))
        made.append(and_(RUNS.c.name >= first, RUNS.c.name < first + _LAST))
    elif name:
        made.append(RUNS.c.name == canonicalize_name(name))
    elif version:
        raise SearchError(f"the version {version[:40]!a} of which package? name it too")
    if wanted.profile:
        made.append(RUNS.c.profile == wanted.profile)
    if len(wanted.verdicts) == 1:
        made.append(RUNS.c.verdict == wanted.verdicts[0])
    elif wanted.verdicts:
        made.append(RUNS.c.verdict.in_(wanted.verdicts))
    if version:
        made.append(RUNS.c.version == version)
    return tuple(made)


def _rarest(
    connection: Connection, terms: tuple[tuple[str, str], ...], filters: tuple[ColumnElement[bool], ...]
) -> tuple[str, str] | None:
    """The term with the fewest runs; `None` when what the runs themselves say leaves fewer, or there is none."""
    if not terms:
        return None
    counts = {term: _up_to(connection, select(1).where(*_is(TERMS, term))) for term in terms}
    rarest = min(terms, key=lambda term: counts[term])
    fewer = (_up_to(connection, select(1).select_from(RUNS).where(one)) < counts[rarest] for one in filters[:1])
    return None if any(fewer) else rarest


def _up_to(connection: Connection, chosen: Select[Any]) -> int:
    return connection.execute(select(func.count()).select_from(chosen.limit(_COUNTED).subquery())).scalar_one()


def _is(table: Any, term: tuple[str, str]) -> tuple[ColumnElement[bool], ...]:  # noqa: ANN401 - a table or its alias
    return table.c.kind == term[0], table.c.value == term[1]


def _purl(text: str) -> PackageURL:
    try:
        return PackageURL.from_string(text)
    except ValueError as error:
        raise SearchError(f"{text[:200]!a} is not a package URL; write pkg:pypi/NAME, or the name alone") from error


def _cursor(run: Run) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((run.created, run.run))).decode().rstrip("=")


def _position(cursor: str) -> tuple[float, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created, run = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=tuple[float, str])
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise SearchError("the cursor is not one of ours; begin again without it") from error
    return created, stored(run)
