"""The database of the service: SQLite for one machine, PostgreSQL for many; the same tables, by migrations."""

from sandbox.database.engine import open_database, writing
from sandbox.database.migrate import is_current, is_made, upgrade

__all__ = ["is_current", "is_made", "open_database", "upgrade", "writing"]
