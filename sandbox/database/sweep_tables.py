"""The tables of sweeps. Instants are UTC epoch seconds."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from collector.store.schema import METADATA

SWEEPS: Final = Table(
    "sweeps",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("feed", String(64), nullable=False, comment="digest of the feed's plan, of which the cursor is"),
    Column("cursor", JSON, nullable=False, comment="where the feed goes on"),
    Column("slot", Double, comment="the latest moment of its schedule that was served"),
)

SWEEP_RUNS: Final = Table(
    "sweep_runs",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("sweep", String(64), nullable=False),
    Column("active", String(64), unique=True, comment="the sweep's name while this runs, else null"),
    Column("state", String(16), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("reason", Text, nullable=False),
    Column("owner", String(128), nullable=False, comment="who runs it; empty when nobody does"),
    Column("lease_until", Double, nullable=False),
    Column("bad", Integer, nullable=False, comment="entries of the feed that could not be read"),
    Column("notes", JSON, nullable=False, comment="what the feed could not see, in sentences"),
    CheckConstraint("state IN ('running', 'complete', 'budget', 'interrupted', 'failed')", name="state"),
    Index(None, "sweep", "started"),
    Index(None, "started"),
)

SWEEP_ENTRIES: Final = Table(
    "sweep_entries",
    METADATA,
    Column("id", Integer, primary_key=True, comment="in the order in which the feed named them"),
    Column("run", ForeignKey(SWEEP_RUNS.c.id, ondelete="CASCADE"), nullable=False, comment="that settles it"),
    Column("sweep", String(64), nullable=False),
    Column("purl", Text, nullable=False, comment="as the feed names it"),
    Column("artefact", String(8), nullable=False),
    Column("why", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("release", Text, nullable=False, comment="purl with the version that was found; empty before"),
    Column("tries", Integer, nullable=False, comment="how often the index did not answer about it"),
    Column("submission", String(26), comment="that runs it, or ran it"),
    CheckConstraint("state IN ('pending', 'submitted', 'existing', 'skipped', 'gone', 'unreadable')", name="state"),
    UniqueConstraint("run", "purl", "artefact"),
    Index(None, "run", "state", "id"),
    Index(None, "sweep", "state"),
    Index(None, "submission"),
    # The id is in the key of the entry's submission: it must never be given again.
    sqlite_autoincrement=True,
)
