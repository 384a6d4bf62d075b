"""Run by Alembic for each upgrade, on the connection that `sandbox.database.migrate` gives it."""

from __future__ import annotations

from alembic import context

from sandbox.database import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.METADATA,
    # SQLite cannot alter most of a table: it is copied instead.
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
