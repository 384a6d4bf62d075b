"""The tables of the service, beside those of runs in `collector.store.schema`. Instants are UTC epoch seconds."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from collector.store.schema import METADATA
from sandbox.database.sweep_tables import SWEEP_ENTRIES, SWEEP_RUNS, SWEEPS

__all__ = [
    "ATTEMPTS",
    "COUNTERS",
    "DELIVERIES",
    "KEYS",
    "LANES",
    "METADATA",
    "SUBMISSIONS",
    "SWEEPS",
    "SWEEP_ENTRIES",
    "SWEEP_RUNS",
    "TOKENS",
    "UPLOADS",
    "WORKERS",
]

SUBMISSIONS: Final = Table(
    "submissions",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("lane", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False, comment="last change of state"),
    # What to run
    # Compared byte by byte, as SQLite does, so that the versions of a package are a range of the index.
    Column(
        "package",
        Text().with_variant(Text(collation="C"), "postgresql"),
        nullable=False,
        comment="purl; for an upload its file name",
    ),
    Column("upload", String(64), nullable=False, comment="sha256 of an uploaded artefact; empty for a purl"),
    Column("artefact", String(8), nullable=False, comment="auto, wheel or sdist"),
    Column("profile", Text, nullable=False),
    Column("profile_sha256", String(64), nullable=False),
    Column("rules_sha256", String(64), nullable=False),
    Column("pod", String(16), nullable=False),
    Column("runtime", String(64), nullable=False),
    Column("identity", String(64), nullable=False, comment="digest of all of the above: equal for equal work"),
    Column("standing", String(64), unique=True, comment="identity, while this row answers for it; else null"),
    # By whom
    Column("submitter", String(128), nullable=False),
    Column("origin", String(26), comment="the submission of which this is a rerun"),
    # How it goes
    Column("attempt", Integer, nullable=False, comment="number of the latest attempt; 0 before the first"),
    Column("budget", Integer, nullable=False, comment="how many attempts there may be"),
    Column("owner", String(128), nullable=False, comment="who runs it; empty when nobody does"),
    Column("lease_until", Double, nullable=False, comment="0 when nobody runs it"),
    Column("not_before", Double, nullable=False, comment="not tried again before this; 0 for at once"),
    Column("cancel", Boolean, nullable=False, comment="somebody asked for its end"),
    Column("progress", JSON, nullable=False, comment="steps and phases of the running attempt"),
    # How it ended
    Column("ended", Double),
    Column("reason", Text, nullable=False),
    Column("sha256", String(64), nullable=False, comment="of the artefact that ran; empty before"),
    Column("run", String(32), comment="the run that counts"),
    Column("verdict", String(16), nullable=False),
    CheckConstraint("lane IN ('escalation', 'manual', 'sweep')", name="lane"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'dead', 'cancelled')", name="state"),
    Index(None, "state", "lane", "created", "id"),
    Index(None, "state", "lease_until"),
    Index(None, "created", "id"),
    Index(None, "state", "created", "id"),
    Index(None, "verdict", "created", "id"),
    Index(None, "submitter", "created", "id"),
    Index(None, "package", "created", "id"),
    Index(None, "origin", "created", "id"),
    Index(None, "run"),
    Index(None, "upload", "changed"),
    Index(None, "sha256", "profile_sha256", "rules_sha256"),
)

UPLOADS: Final = Table(
    "uploads",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    Column("wanted", Double, nullable=False, comment="when somebody last said that it is needed"),
)
"""Uploads that may not be removed for some time, whether a submission names them yet or not."""

KEYS: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("submitter", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request", String(64), nullable=False, comment="digest of what was asked for with it"),
    Column("submission", ForeignKey(SUBMISSIONS.c.id, ondelete="CASCADE"), nullable=False, comment="that answers"),
    Column("made", Boolean, nullable=False, comment="whether the submission was made for this request"),
    Column("created", Double, nullable=False),
    Index(None, "created"),
)
"""What was asked for with idempotency keys, and answered; forgotten after some time."""

ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("submission", ForeignKey(SUBMISSIONS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("outcome", String(16), nullable=False, comment="running, done, failed, lost, late, handed-back, cancelled"),
    Column("reason", Text, nullable=False),
    Column("run", String(32), comment="the bundle that it left, counting or not"),
)

LANES: Final = Table(
    "lanes",
    METADATA,
    Column("lane", String(16), primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed", Double, nullable=False),
)
"""Only lanes that were ever paused have a row."""

WORKERS: Final = Table(
    "workers",
    METADATA,
    Column("name", String(128), primary_key=True, comment="host and process of the supervisor"),
    Column("host", String(128), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("started", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("draining", Boolean, nullable=False),
)

TOKENS: Final = Table(
    "tokens",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True, comment="of the secret, which is kept nowhere"),
    Column("name", String(64), nullable=False, comment="who submits; several tokens may share it, to change them"),
    Column("role", String(16), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, comment="null for never"),
    Column("used", Double, comment="last use, to the minute"),
    Column("revoked", Double),
    CheckConstraint("role IN ('submit', 'analyst', 'admin')", name="role"),
)

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("id", String(26), primary_key=True),
    Column("submission", ForeignKey(SUBMISSIONS.c.id, ondelete="CASCADE"), comment="of which it tells, if of one"),
    Column("event", String(32), nullable=False, comment="e.g. submission.done; empty before the end"),
    Column("content", JSON(none_as_null=True), comment="what is told of something else than a submission"),
    Column("url", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", Double, nullable=False),
    Column("attempts", Integer, nullable=False, comment="how often it was tried"),
    Column("due", Double, nullable=False, comment="not tried before; while it is tried, when another may take it"),
    Column("ended", Double),
    Column("reason", Text, nullable=False, comment="why the latest attempt failed"),
    CheckConstraint("state IN ('waiting', 'pending', 'delivered', 'failed')", name="state"),
    Index(None, "state", "due"),
    Index(None, "submission", "state"),
    Index(None, "created", "id"),
)
"""Webhooks: who is to be told of what. What waits for a submission's end becomes due in the transaction of that end."""

COUNTERS: Final = Table(
    "counters",
    METADATA,
    Column("name", String(64), primary_key=True, comment="of the metric, without prefix"),
    Column("labels", String(255), primary_key=True, comment="as in the text format of Prometheus, sorted"),
    Column("value", Double, nullable=False),
)
"""What was counted, by all processes on all hosts."""
