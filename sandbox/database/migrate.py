"""Brings a database to the tables of this version, by Alembic's migrations."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DatabaseError, OperationalError

from sandbox.database.engine import writing
from sandbox.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x66756D65
"""Of PostgreSQL's advisory locks, the one that whoever migrates holds."""

NEWER: Final = "its tables are of a newer fumehood; upgrade this one too, or restore the backup (docs/operations.md)"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables up to date; quick when they are. Several processes may call it at once.

    Args:
        engine: The database.
        revision: The migration that is the last one to apply.

    Raises:
        DatabaseUnavailableError: The database does not answer, is not ours, or has tables of a newer version.
    """
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            if _is_newer(connection):
                raise DatabaseUnavailableError(f"the database {shown} cannot be used: {NEWER}")
            command.upgrade(_configuration(connection), revision)
    except (OperationalError, DatabaseError) as error:
        said = str(error.orig).strip().splitlines()[0] if error.orig and str(error.orig).strip() else "no answer"
        file = engine.dialect.name == "sqlite"
        hint = "is the path right, and may you write there?" if file else "is it running, and the URL right?"
        raise DatabaseUnavailableError(f"the database {shown} cannot be used: {said}; {hint}") from error


def is_made(engine: Engine) -> bool:
    """Whether there are tables of ours, of any version. A file that is not there is not made by asking."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    with suppress(PermissionError):
        if file and not Path(file).exists():
            return False
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() is not None


def is_current(engine: Engine) -> bool:
    """Whether the tables are those of this version."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == revisions()[-1]


def is_newer(engine: Engine) -> bool:
    """Whether the tables are of a version that this one does not know; it leaves them alone."""
    with engine.connect() as connection:
        return _is_newer(connection)


def _is_newer(connection: Connection) -> bool:
    revision = MigrationContext.configure(connection).get_current_revision()
    return revision is not None and revision not in revisions()


@cache
def revisions() -> tuple[str, ...]:
    """Those that this version knows, the oldest first: whoever asks whether we are ready asks for them often."""
    script = ScriptDirectory.from_config(_configuration(None))
    return tuple(reversed([known.revision for known in script.walk_revisions()]))


def _configuration(connection: Connection | None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made
