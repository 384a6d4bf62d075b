"""From a bundle to its place in the evidence store and its rows in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from collector.analyse import analyse
from collector.store import rows
from collector.store.evidence import note_stored
from sandbox.database import writing

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from collector.report import Report
    from collector.sigma.rule import RuleSet
    from collector.store.rows import RunRows
    from collector.suppressions import Suppressions
    from sandbox.evidence import EvidenceStore, Seal


def record(connection: Connection, made: RunRows, seal: Seal) -> None:
    """Write a run's rows and where its evidence stands, within the caller's transaction.

    Args:
        connection: A transaction that writes.
        made: Of the run's report.
        seal: What the evidence store said when it took the bundle in.
    """
    if connection.dialect.name == "postgresql":
        # A rebuild and a worker may be at the same run. SQLite has one writer at a time anyway.
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(seal.run, 0))))
    rows.write(connection, made)
    note_stored(connection, seal.run, seal.manifest_sha256, seal.size)


def take_in(
    engine: Engine, evidence: EvidenceStore, bundle: Path, rules: RuleSet, suppressions: Suppressions
) -> Report:
    """Store a bundle, and write its rows from what is stored.

    Raises:
        BundleError: It is not a whole bundle.
        EvidenceError: It cannot be stored.
    """
    seal = evidence.put(bundle)
    with evidence.open(seal.run) as stored:
        report = analyse(stored, rules, suppressions)
    with writing(engine) as connection:
        record(connection, rows.rows(report), seal)
    return report
