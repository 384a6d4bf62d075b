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


def upgrade(engine: Engine) -> None:
    """Bring the tables up to date; quick when they are. Several processes may call it at once.

    Raises:
        DatabaseUnavailableError: The database does not answer, or is not ours.
    """
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            command.upgrade(_configuration(connection), "head")
    except (OperationalError, DatabaseError) as error:
        shown = engine.url.render_as_string(hide_password=True)
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
        return MigrationContext.configure(connection).get_current_revision() == _newest()


@cache
def _newest() -> str | None:
    """The revision of this version: it is asked for by whoever asks whether we are ready, and takes reading files."""
    return ScriptDirectory.from_config(_configuration(None)).get_current_head()


def _configuration(connection: Connection | None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made
