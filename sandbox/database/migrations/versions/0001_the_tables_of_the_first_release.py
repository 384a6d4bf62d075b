"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=64), nullable=False, comment="of the metric, without prefix"),
        sa.Column(
            "labels", sa.String(length=255), nullable=False, comment="as in the text format of Prometheus, sorted"
        ),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_counters")),
    )
    op.create_table(
        "evidence",
        sa.Column(
            "run", sa.String(length=32), nullable=False, comment="not a foreign key: its removal outlives a rebuild"
        ),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes of the bundle"),
        sa.Column(
            "removed", sa.Double(), nullable=True, comment="when the evidence was removed; null while it is there"
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it was removed; empty while it is there"),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_evidence")),
    )
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evidence_removed_run"), ["removed", "run"], unique=False)

    op.create_table(
        "labels",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False, comment="not a foreign key: labels outlive a rebuild"),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sa.UniqueConstraint("run", "label", name=op.f("uq_labels_run_label")),
    )
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_labels_label_run"), ["label", "run"], unique=False)

    op.create_table(
        "lanes",
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_lanes")),
    )
    op.create_table(
        "rebuilds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rules_sha256", sa.String(length=64), nullable=False),
        sa.Column("suppressions_sha256", sa.String(length=64), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True, comment="null while it is not finished"),
        sa.Column(
            "position",
            sa.String(length=32),
            nullable=False,
            comment="the last run whose bundle was read; they are read in order",
        ),
        sa.Column("done", sa.Integer(), nullable=False, comment="runs whose rows were written"),
        sa.Column("bad", sa.Integer(), nullable=False, comment="bundles that could not be read"),
        sa.Column("failures", sa.JSON(), nullable=False, comment="of the first of them: run and reason"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rebuilds")),
    )
    op.create_table(
        "runs",
        sa.Column("run", sa.String(length=32), nullable=False, comment="id, as in the bundle's manifest"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("purl", sa.Text(), nullable=False),
        sa.Column("ecosystem", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the artefact"),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("profile_sha256", sa.String(length=64), nullable=False),
        sa.Column("rules_sha256", sa.String(length=64), nullable=False),
        sa.Column("fumehood", sa.String(length=32), nullable=False, comment="version that ran it"),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("classification", sa.String(length=64), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False, comment="number of events by kind"),
        sa.Column("seconds", sa.Double(), nullable=False, comment="of all phases together"),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_created_run"), ["created", "run"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_name_created_run"), ["name", "created", "run"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_profile_created_run"), ["profile", "created", "run"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_sha256"), ["sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_verdict_created_run"), ["verdict", "created", "run"], unique=False)

    op.create_table(
        "submissions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False, comment="last change of state"),
        sa.Column(
            "package",
            sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
            nullable=False,
            comment="purl; for an upload its file name",
        ),
        sa.Column(
            "upload", sa.String(length=64), nullable=False, comment="sha256 of an uploaded artefact; empty for a purl"
        ),
        sa.Column("artefact", sa.String(length=8), nullable=False, comment="auto, wheel or sdist"),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("profile_sha256", sa.String(length=64), nullable=False),
        sa.Column("rules_sha256", sa.String(length=64), nullable=False),
        sa.Column("pod", sa.String(length=16), nullable=False),
        sa.Column("runtime", sa.String(length=64), nullable=False),
        sa.Column(
            "identity", sa.String(length=64), nullable=False, comment="digest of all of the above: equal for equal work"
        ),
        sa.Column(
            "standing",
            sa.String(length=64),
            nullable=True,
            comment="identity, while this row answers for it; else null",
        ),
        sa.Column("submitter", sa.String(length=128), nullable=False),
        sa.Column("origin", sa.String(length=26), nullable=True, comment="the submission of which this is a rerun"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="number of the latest attempt; 0 before the first"),
        sa.Column("budget", sa.Integer(), nullable=False, comment="how many attempts there may be"),
        sa.Column("owner", sa.String(length=128), nullable=False, comment="who runs it; empty when nobody does"),
        sa.Column("lease_until", sa.Double(), nullable=False, comment="0 when nobody runs it"),
        sa.Column("not_before", sa.Double(), nullable=False, comment="not tried again before this; 0 for at once"),
        sa.Column("cancel", sa.Boolean(), nullable=False, comment="somebody asked for its end"),
        sa.Column("progress", sa.JSON(), nullable=False, comment="steps and phases of the running attempt"),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the artefact that ran; empty before"),
        sa.Column("run", sa.String(length=32), nullable=True, comment="the run that counts"),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.CheckConstraint("lane IN ('escalation', 'manual', 'sweep')", name=op.f("ck_submissions_lane")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'dead', 'cancelled')", name=op.f("ck_submissions_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("standing", name=op.f("uq_submissions_standing")),
    )
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_submissions_created_id"), ["created", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_submissions_origin_created_id"), ["origin", "created", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_submissions_package_created_id"), ["package", "created", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_submissions_run"), ["run"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_submissions_sha256_profile_sha256_rules_sha256"),
            ["sha256", "profile_sha256", "rules_sha256"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_submissions_state_created_id"), ["state", "created", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_submissions_state_lane_created_id"), ["state", "lane", "created", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_submissions_state_lease_until"), ["state", "lease_until"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_submissions_submitter_created_id"), ["submitter", "created", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_submissions_upload_changed"), ["upload", "changed"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_submissions_verdict_created_id"), ["verdict", "created", "id"], unique=False
        )

    op.create_table(
        "sweep_runs",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("sweep", sa.String(length=64), nullable=False),
        sa.Column("active", sa.String(length=64), nullable=True, comment="the sweep's name while this runs, else null"),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False, comment="who runs it; empty when nobody does"),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False, comment="entries of the feed that could not be read"),
        sa.Column("notes", sa.JSON(), nullable=False, comment="what the feed could not see, in sentences"),
        sa.CheckConstraint(
            "state IN ('running', 'complete', 'budget', 'interrupted', 'failed')", name=op.f("ck_sweep_runs_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep_runs")),
        sa.UniqueConstraint("active", name=op.f("uq_sweep_runs_active")),
    )
    with op.batch_alter_table("sweep_runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sweep_runs_started"), ["started"], unique=False)
        batch_op.create_index(batch_op.f("ix_sweep_runs_sweep_started"), ["sweep", "started"], unique=False)

    op.create_table(
        "sweeps",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column(
            "feed", sa.String(length=64), nullable=False, comment="digest of the feed's plan, of which the cursor is"
        ),
        sa.Column("cursor", sa.JSON(), nullable=False, comment="where the feed goes on"),
        sa.Column("slot", sa.Double(), nullable=True, comment="the latest moment of its schedule that was served"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sweeps")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the secret, which is kept nowhere"),
        sa.Column(
            "name",
            sa.String(length=64),
            nullable=False,
            comment="who submits; several tokens may share it, to change them",
        ),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=True, comment="null for never"),
        sa.Column("used", sa.Double(), nullable=True, comment="last use, to the minute"),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.CheckConstraint("role IN ('submit', 'analyst', 'admin')", name=op.f("ck_tokens_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=128), nullable=False, comment="host and process of the supervisor"),
        sa.Column("host", sa.String(length=128), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "attempts",
        sa.Column("submission", sa.String(length=26), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column(
            "outcome",
            sa.String(length=16),
            nullable=False,
            comment="running, done, failed, lost, late, handed-back, cancelled",
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=True, comment="the bundle that it left, counting or not"),
        sa.ForeignKeyConstraint(
            ["submission"], ["submissions.id"], name=op.f("fk_attempts_submission"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("submission", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("submission", sa.String(length=26), nullable=True, comment="of which it tells, if of one"),
        sa.Column("event", sa.String(length=32), nullable=False, comment="e.g. submission.done; empty before the end"),
        sa.Column(
            "content",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="what is told of something else than a submission",
        ),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="how often it was tried"),
        sa.Column(
            "due", sa.Double(), nullable=False, comment="not tried before; while it is tried, when another may take it"
        ),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False, comment="why the latest attempt failed"),
        sa.CheckConstraint("state IN ('waiting', 'pending', 'delivered', 'failed')", name=op.f("ck_deliveries_state")),
        sa.ForeignKeyConstraint(
            ["submission"], ["submissions.id"], name=op.f("fk_deliveries_submission"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deliveries_created_id"), ["created", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_deliveries_state_due"), ["state", "due"], unique=False)
        batch_op.create_index(batch_op.f("ix_deliveries_submission_state"), ["submission", "state"], unique=False)

    op.create_table(
        "findings",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="place in the report, from 0"),
        sa.Column("rule", sa.String(length=64), nullable=False, comment="Sigma id"),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("weight", sa.String(length=16), nullable=False),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("attack", sa.JSON(), nullable=False, comment="ATT&CK technique ids"),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name=op.f("fk_findings_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "position", name=op.f("pk_findings")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("submitter", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False, comment="digest of what was asked for with it"),
        sa.Column("submission", sa.String(length=26), nullable=False, comment="that answers"),
        sa.Column("made", sa.Boolean(), nullable=False, comment="whether the submission was made for this request"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission"], ["submissions.id"], name=op.f("fk_idempotency_keys_submission"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("submitter", "key", name=op.f("pk_idempotency_keys")),
    )
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_keys_created"), ["created"], unique=False)

    op.create_table(
        "sweep_entries",
        sa.Column("id", sa.Integer(), nullable=False, comment="in the order in which the feed named them"),
        sa.Column("run", sa.String(length=26), nullable=False, comment="that settles it"),
        sa.Column("sweep", sa.String(length=64), nullable=False),
        sa.Column("purl", sa.Text(), nullable=False, comment="as the feed names it"),
        sa.Column("artefact", sa.String(length=8), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False, comment="purl with the version that was found; empty before"),
        sa.Column("tries", sa.Integer(), nullable=False, comment="how often the index did not answer about it"),
        sa.Column("submission", sa.String(length=26), nullable=True, comment="that runs it, or ran it"),
        sa.CheckConstraint(
            "state IN ('pending', 'submitted', 'existing', 'skipped', 'gone', 'unreadable')",
            name=op.f("ck_sweep_entries_state"),
        ),
        sa.ForeignKeyConstraint(["run"], ["sweep_runs.id"], name=op.f("fk_sweep_entries_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep_entries")),
        sa.UniqueConstraint("run", "purl", "artefact", name=op.f("uq_sweep_entries_run_purl_artefact")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("sweep_entries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sweep_entries_run_state_id"), ["run", "state", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_sweep_entries_submission"), ["submission"], unique=False)
        batch_op.create_index(batch_op.f("ix_sweep_entries_sweep_state"), ["sweep", "state"], unique=False)

    op.create_table(
        "terms",
        sa.Column("kind", sa.String(length=16), nullable=False, comment="see collector.store.terms"),
        sa.Column("value", sa.String(length=1024), nullable=False),
        sa.Column("created", sa.Double(), nullable=False, comment="of the run"),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name=op.f("fk_terms_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("kind", "value", "created", "run", name=op.f("pk_terms")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("terms", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_terms_run_kind"), ["run", "kind"], unique=False)
