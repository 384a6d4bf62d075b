"""What became of the bundles of runs: a row says that there is one, or when and why it was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, insert, select, update

from collector.store.schema import EVIDENCE, LABELS
from collector.store.stored import stored

if TYPE_CHECKING:
    from sqlalchemy import Connection


class EvidenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run's bundle."""

    manifest_sha256: str
    size: int
    """Bytes."""
    removed: float | None = None
    reason: str = ""


def note_stored(connection: Connection, run: str, manifest_sha256: str, size: int) -> None:
    """Note that a run's bundle is stored, in place of what was noted before; within the caller's transaction."""
    connection.execute(delete(EVIDENCE).where(EVIDENCE.c.run == run))
    row = {"run": run, "manifest_sha256": manifest_sha256, "size": size, "removed": None, "reason": ""}
    connection.execute(insert(EVIDENCE), row)


def note_removed(connection: Connection, run: str, reason: str, now: float) -> bool:
    """Note that a run's bundle is removed; its rows stay and say so.

    Returns:
        Whether it may be: it was there, and nobody has labelled the run.
    """
    labelled = select(LABELS.c.run).where(LABELS.c.run == run).correlate(None).exists()
    free = (EVIDENCE.c.run == run, EVIDENCE.c.removed.is_(None), ~labelled)
    return bool(connection.execute(update(EVIDENCE).where(*free).values(removed=now, reason=stored(reason))).rowcount)


def evidence_of(connection: Connection, run: str) -> EvidenceRow | None:
    """What is noted of a run's bundle."""
    table = EVIDENCE.c
    columns = (table.manifest_sha256, table.size, table.removed, table.reason)
    row = connection.execute(select(*columns).where(table.run == run)).mappings().first()
    return EvidenceRow(**row) if row else None
