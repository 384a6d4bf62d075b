"""The database of the service: SQLite for one machine, PostgreSQL for many; the same tables, by migrations."""

from sandbox.database.engine import open_database, writing
from sandbox.database.migrate import NEWER, is_current, is_made, is_newer, upgrade

__all__ = ["NEWER", "is_current", "is_made", "is_newer", "open_database", "upgrade", "writing"]
