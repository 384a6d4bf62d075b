"""The tables of runs. Instants are UTC seconds since the epoch; nothing here looks at a clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""All tables of one database; those of the sandbox are added by `sandbox.database.schema`."""

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("run", String(32), primary_key=True, comment="id, as in the bundle's manifest"),
    Column("created", Double, nullable=False),
    Column("purl", Text, nullable=False),
    Column("ecosystem", String(16), nullable=False),
    # Compared byte by byte, as SQLite does, so that names that begin alike are a range of the index.
    Column("name", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False),
    Column("version", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("sha256", String(64), nullable=False, comment="of the artefact"),
    Column("kind", String(16), nullable=False),
    Column("profile", String(64), nullable=False),
    Column("profile_sha256", String(64), nullable=False),
    Column("rules_sha256", String(64), nullable=False),
    Column("fumehood", String(32), nullable=False, comment="version that ran it"),
    Column("verdict", String(16), nullable=False),
    Column("classification", String(64), nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("events", JSON, nullable=False, comment="number of events by kind"),
    Column("seconds", Double, nullable=False, comment="of all phases together"),
    Column("interrupted", Boolean, nullable=False),
    Index(None, "created", "run"),
    Index(None, "name", "created", "run"),
    Index(None, "sha256"),
    Index(None, "verdict", "created", "run"),
    Index(None, "profile", "created", "run"),
)

FINDINGS: Final = Table(
    "findings",
    METADATA,
    Column("run", ForeignKey(RUNS.c.run, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, comment="place in the report, from 0"),
    Column("rule", String(64), nullable=False, comment="Sigma id"),
    Column("name", String(128), nullable=False),
    Column("title", Text, nullable=False),
    Column("level", String(16), nullable=False),
    Column("weight", String(16), nullable=False),
    Column("suppressed", Boolean, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("actor", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("attack", JSON, nullable=False, comment="ATT&CK technique ids"),
)

TERMS: Final = Table(
    "terms",
    METADATA,
    Column("kind", String(16), primary_key=True, comment="see collector.store.terms"),
    Column("value", String(1024), primary_key=True),
    Column("created", Double, primary_key=True, comment="of the run"),
    Column("run", ForeignKey(RUNS.c.run, ondelete="CASCADE"), primary_key=True),
    Index(None, "run", "kind"),
    sqlite_with_rowid=False,
)
"""What runs are found by. The key is the order of a result, so the newest runs of any term are read off the index."""

LABELS: Final = Table(
    "labels",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run", String(32), nullable=False, comment="not a foreign key: labels outlive a rebuild"),
    Column("label", String(64), nullable=False),
    Column("note", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created", Double, nullable=False),
    UniqueConstraint("run", "label"),
    Index(None, "label", "run"),
)

EVIDENCE: Final = Table(
    "evidence",
    METADATA,
    Column("run", String(32), primary_key=True, comment="not a foreign key: its removal outlives a rebuild"),
    Column("manifest_sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False, comment="bytes of the bundle"),
    Column("removed", Double, comment="when the evidence was removed; null while it is there"),
    Column("reason", Text, nullable=False, comment="why it was removed; empty while it is there"),
    Index(None, "removed", "run"),
)
"""What became of the bundles of runs."""

REBUILDS: Final = Table(
    "rebuilds",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("rules_sha256", String(64), nullable=False),
    Column("suppressions_sha256", String(64), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double, comment="null while it is not finished"),
    Column(
        "position", String(32), nullable=False, comment="the last run whose bundle was read; they are read in order"
    ),
    Column("done", Integer, nullable=False, comment="runs whose rows were written"),
    Column("bad", Integer, nullable=False, comment="bundles that could not be read"),
    Column("failures", JSON, nullable=False, comment="of the first of them: run and reason"),
)
"""How far each rebuild of these tables from the evidence came, so that the next one goes on there."""
