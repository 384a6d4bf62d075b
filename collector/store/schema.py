"""The tables of runs. Instants are UTC seconds since the epoch; nothing here looks at a clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
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
    Column("name", Text, nullable=False),
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
    Index(None, "name", "created"),
    Index(None, "sha256"),
    Index(None, "verdict", "created"),
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
    Index(None, "rule", "run"),
    Index(None, "name", "run"),
)

INDICATORS: Final = Table(
    "indicators",
    METADATA,
    Column("run", ForeignKey(RUNS.c.run, ondelete="CASCADE"), primary_key=True),
    Column("kind", String(16), primary_key=True, comment="domain, address, url or sha256"),
    Column("value", String(1024), primary_key=True),
    Index(None, "value", "kind"),
)

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
