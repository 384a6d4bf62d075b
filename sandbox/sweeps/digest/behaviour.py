"""What a package does that its previous release did not do, or no longer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from packaging.version import InvalidVersion, Version
from sqlalchemy import select

from collector.store.schema import FINDINGS, RUNS, TERMS
from collector.store.terms import defang
from sandbox.sweeps.digest.model import FindingPart
from sandbox.sweeps.feeds.names import purl_of

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, RowMapping

_CONTACTS: Final = ("domain", "address")
_LISTED: Final = 20
"""Names and addresses of one package."""


def compare(connection: Connection, run: RowMapping, previous: RowMapping) -> dict[str, Any] | None:
    """Compare two rows of runs.

    Returns:
        The fields of a `ChangePart` that are not the package's; `None` when nothing is different.
    """
    now = {finding.name: finding for finding in findings_of(connection, run["run"])}
    then = {finding.name: finding for finding in findings_of(connection, previous["run"])}
    gained = tuple(finding for name, finding in now.items() if name not in then)
    lost = tuple(finding for name, finding in then.items() if name not in now)
    contacts = _contacts(connection, run["run"]) - _contacts(connection, previous["run"])
    if not gained and not lost and not contacts and run["verdict"] == previous["verdict"]:
        return None
    return {
        "verdict": run["verdict"],
        "previous": purl_of(previous["name"], previous["version"]),
        "previous_run": previous["run"],
        "previous_verdict": previous["verdict"],
        "gained": gained,
        "lost": lost,
        "contacts": tuple(defang(kind, value) for kind, value in sorted(contacts)[:_LISTED]),
        "other_rules": run["rules_sha256"] != previous["rules_sha256"],
    }


def findings_of(connection: Connection, run: str, *conditions: ColumnElement[bool]) -> tuple[FindingPart, ...]:
    """The findings of a run, in its report's order; each rule once, though several actors may have set it off."""
    found: dict[str, FindingPart] = {}
    rows = connection.execute(
        select(FINDINGS.c.name, FINDINGS.c.title, FINDINGS.c.level, FINDINGS.c.attack)
        .where(FINDINGS.c.run == run, *conditions)
        .order_by(FINDINGS.c.position)
    )
    for name, title, level, attack in rows:
        found.setdefault(name, FindingPart(name=name, title=title, level=level, attack=tuple(attack)))
    return tuple(found.values())


def _contacts(connection: Connection, run: str) -> set[tuple[str, str]]:
    wanted = select(TERMS.c.kind, TERMS.c.value).where(TERMS.c.run == run, TERMS.c.kind.in_(_CONTACTS))
    return {(kind, value) for kind, value in connection.execute(wanted)}


def previous_release(connection: Connection, run: RowMapping) -> RowMapping | None:
    """The latest run of the highest version below a run's own, of the same kind of artefact under the same profile."""
    table = RUNS.c
    mine = _version(run["version"])
    if mine is None:
        return None
    rows = connection.execute(
        select(RUNS)
        .where(
            table.name == run["name"],
            table.kind == run["kind"],
            table.profile == run["profile"],
            table.version != run["version"],
            table.created < run["created"],
        )
        .order_by(table.created)
    ).mappings()
    earlier = [(version, row) for row in rows if (version := _version(row["version"])) is not None and version < mine]
    # Of several runs of one version the last counts: they come in the order of their time.
    return max(enumerate(earlier), key=lambda it: (it[1][0], it[0]))[1][1] if earlier else None


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
