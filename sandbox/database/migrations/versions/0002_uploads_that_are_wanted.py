"""Uploads that are wanted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "uploads",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("wanted", sa.Double(), nullable=False, comment="when somebody last said that it is needed"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_uploads")),
    )
