"""Reads runs: their rows, findings with how rare they are, indicators, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import and_, func, select

from collector.store.evidence import EvidenceRow, evidence_of
from collector.store.labels import KNOWN_GOOD, Label, labels_of
from collector.store.schema import FINDINGS, RUNS, TERMS
from collector.store.stored import plain, stored
from collector.store.terms import INDICATORS
from collector.verdict import VerdictName, Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, RowMapping


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A row of runs; `collector.store.schema` says what each column means."""

    run: str
    created: float
    purl: str
    ecosystem: str
    name: str
    version: str
    filename: str
    sha256: str
    kind: str
    profile: str
    profile_sha256: str
    rules_sha256: str
    fumehood: str
    verdict: VerdictName
    classification: str
    reasons: tuple[str, ...]
    events: dict[str, int]
    seconds: float
    interrupted: bool
    labels: tuple[Label, ...] = ()


class Prevalence(msgspec.Struct, frozen=True, kw_only=True):
    """How rare a finding is."""

    runs: int
    """Runs that ever showed it, this one included."""
    known_good: int
    """Those of them that are labelled `known-good`."""
    of_known_good: int
    """How many runs are labelled so."""


class FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as it is kept; the report has more."""

    rule: str
    name: str
    title: str
    level: str
    weight: Weight
    suppressed: bool
    phase: str
    actor: str
    count: int
    attack: tuple[str, ...]
    prevalence: Prevalence


class Indicator(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look for elsewhere, as it was: `collector.store.terms.defang` is for showing it to people."""

    kind: str
    """`domain`, `address`, `url` or `sha256`."""
    value: str


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of a run."""

    run: Run
    findings: tuple[FindingRow, ...]
    """The worst first."""
    indicators: tuple[Indicator, ...]
    evidence: EvidenceRow | None
    """`None` for a run whose bundle was never in the evidence store."""


def read_runs(connection: Connection, rows: Iterable[RowMapping]) -> tuple[Run, ...]:
    """Rows of the table as data, with their labels."""
    found = [plain(row) for row in rows]
    labels = labels_of(connection, [row["run"] for row in found])
    return tuple(msgspec.convert(row | {"labels": labels.get(row["run"], ())}, Run) for row in found)


def get_run(connection: Connection, run: str) -> RunDetail | None:
    """A run with what is known of it; `None` when there is none of that id."""
    run = stored(run)
    rows = connection.execute(select(RUNS).where(RUNS.c.run == run)).mappings().all()
    if not rows:
        return None
    [found] = read_runs(connection, rows)
    indicators = connection.execute(
        select(TERMS.c.kind, TERMS.c.value)
        .where(TERMS.c.run == run, TERMS.c.kind.in_(INDICATORS))
        .order_by(TERMS.c.kind, TERMS.c.value)
    )
    return RunDetail(
        run=found,
        findings=_findings(connection, run),
        indicators=tuple(Indicator(kind=kind, value=value) for kind, value in indicators),
        evidence=evidence_of(connection, run),
    )


def prevalence(connection: Connection, rules: Iterable[str]) -> dict[str, Prevalence]:
    """How many runs ever showed the findings of rules, by name of the rule."""
    good = _count(connection, "label", KNOWN_GOOD)
    return {name: _prevalence(connection, name, good) for name in dict.fromkeys(rules)}


def _findings(connection: Connection, run: str) -> tuple[FindingRow, ...]:
    columns = [column for column in FINDINGS.c if column.name not in {"run", "position"}]
    rows = connection.execute(select(*columns).where(FINDINGS.c.run == run).order_by(FINDINGS.c.position)).mappings()
    found = [plain(row) for row in rows]
    known = prevalence(connection, (row["name"] for row in found))
    return tuple(msgspec.convert(row | {"prevalence": known[row["name"]]}, FindingRow) for row in found)


def _prevalence(connection: Connection, rule: str, good: int) -> Prevalence:
    shown = _count(connection, "rule", rule)
    # The fewer are gone through, and each is looked up among the others by the whole key.
    few, many = (("label", KNOWN_GOOD), ("rule", rule)) if good < shown else (("rule", rule), ("label", KNOWN_GOOD))
    outer, inner = TERMS.alias(), TERMS.alias()
    same = and_(
        inner.c.kind == many[0],
        inner.c.value == many[1],
        inner.c.created == outer.c.created,
        inner.c.run == outer.c.run,
    )
    both = connection.execute(
        select(func.count())
        .select_from(outer)
        .where(outer.c.kind == few[0], outer.c.value == few[1], select(1).where(same).exists())
    ).scalar_one()
    return Prevalence(runs=shown, known_good=both, of_known_good=good)


def _count(connection: Connection, kind: str, value: str) -> int:
    return connection.execute(
        select(func.count()).select_from(TERMS).where(TERMS.c.kind == kind, TERMS.c.value == value)
    ).scalar_one()
