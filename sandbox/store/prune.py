"""Removes evidence that need not be kept. The rows stay, and say when and why it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select, update

from collector.store.evidence import note_removed
from collector.store.schema import EVIDENCE, LABELS, RUNS
from collector.store.stored import plain
from sandbox.database import writing
from sandbox.database.schema import SUBMISSIONS
from sandbox.store.retention import Candidate, Pruning, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from sandbox.config.model import RetentionPlan
    from sandbox.evidence import EvidenceStore


def plan_pruning(engine: Engine, plan: RetentionPlan, now: float) -> Pruning:
    """What would go; nothing is removed."""
    labelled = select(LABELS.c.run).where(LABELS.c.run == EVIDENCE.c.run).exists()
    columns = (RUNS.c.run, RUNS.c.purl, RUNS.c.created, RUNS.c.verdict, EVIDENCE.c.size, labelled.label("labelled"))
    query = select(*columns).join(RUNS, RUNS.c.run == EVIDENCE.c.run).where(EVIDENCE.c.removed.is_(None))
    with engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    return choose([msgspec.convert(plain(row), Candidate, strict=False) for row in rows], plan, now)


def prune(engine: Engine, evidence: EvidenceStore, pruning: Pruning, now: float, progress: Callable[[], object]) -> int:
    """Remove what was decided on; how many bundles went.

    The row is first: should this end in between, the next pruning finds what is noted as removed and is still there.
    A run that was labelled since is left alone.
    """
    _finish_earlier(engine, evidence)
    removed = 0
    for removal in pruning.removals:
        with writing(engine) as connection:
            noted = note_removed(connection, removal.run, removal.reason, now)
            if noted:
                # Who asks for the same again wants a report, which can no longer be made from this run.
                answered = update(SUBMISSIONS).where(SUBMISSIONS.c.run == removal.run)
                connection.execute(answered.values(standing=None))
        if noted:
            evidence.delete(removal.run)
            removed += 1
        progress()
    return removed


def _finish_earlier(engine: Engine, evidence: EvidenceStore) -> None:
    with engine.connect() as connection:
        gone = set(connection.execute(select(EVIDENCE.c.run).where(EVIDENCE.c.removed.is_not(None))).scalars())
    if gone:
        for run in [run for run in evidence.runs() if run in gone]:
            evidence.delete(run)
