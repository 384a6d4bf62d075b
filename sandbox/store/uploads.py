"""Removes uploaded artefacts that nobody waits for any more."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from sandbox.database.schema import SUBMISSIONS
from sandbox.evidence.store import is_digest

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from sandbox.evidence import EvidenceStore


def prune_uploads(engine: Engine, evidence: EvidenceStore, here: Path, before: float) -> int:
    """Remove what was sent before a moment, and that no submission since then, or one that still waits or runs, needs.

    Args:
        engine: The database.
        evidence: Where uploads are kept for all hosts.
        here: This host's own directory of uploads, whose copies go too.
        before: UTC seconds since the epoch.

    Returns:
        How many artefacts went from the store.
    """
    removed = 0
    for sha256, kept in evidence.uploads():
        if kept < before and not _is_wanted(engine, sha256, before):
            evidence.drop_upload(sha256)
            removed += 1
    for directory in here.glob("*"):
        # Others of this name are what is arriving.
        old = is_digest(directory.name) and directory.stat().st_mtime < before
        if old and not _is_wanted(engine, directory.name, before):
            shutil.rmtree(directory)
    return removed


def _is_wanted(engine: Engine, sha256: str, since: float) -> bool:
    table = SUBMISSIONS.c
    query = select(table.id).where(
        table.upload == sha256,
        or_(table.state.in_(("queued", "running")), table.changed >= since),
    )
    with engine.connect() as connection:
        return connection.execute(query.limit(1)).first() is not None
