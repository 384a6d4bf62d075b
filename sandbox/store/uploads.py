"""Removes uploaded artefacts that nobody waits for any more."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sandbox.database import writing
from sandbox.evidence.store import is_digest
from sandbox.submissions import uploads

if TYPE_CHECKING:
    from collections.abc import Callable
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
        removed += kept < before and _remove(engine, sha256, before, evidence.drop_upload)
    for directory in here.glob("*"):
        # Others of this name are what is arriving.
        if is_digest(directory.name) and directory.stat().st_mtime < before:
            _remove(engine, directory.name, before, lambda sha256: shutil.rmtree(here / sha256))
    uploads.forget_old(engine, before)
    return removed


def _remove(engine: Engine, sha256: str, before: float, drop: Callable[[str], None]) -> bool:
    """Remove one, unless somebody needs it."""
    with engine.connect() as connection:
        if uploads.is_wanted(connection, sha256, before):
            return False
    # It may be submitted again meanwhile.
    with writing(engine) as connection:
        unneeded = uploads.forget(connection, sha256, before)
        if unneeded:
            drop(sha256)
    return unneeded
