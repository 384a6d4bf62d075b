"""Opens the database, and says how it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

_BUSY_MS: Final = 30_000
_CONNECT_S: Final = 10


def open_database(url: str, *, connect_s: int = _CONNECT_S) -> Engine:
    """An engine for a database; nothing is asked of it yet.

    Args:
        url: `sqlite:///PATH`, or `postgresql://USER:PASSWORD@HOST/NAME`, which needs the extra `postgresql`.
        connect_s: After so many seconds a PostgreSQL that does not answer is given up, at each connection.

    Raises:
        ConfigurationError: The URL is not one of these.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError("the database's URL cannot be read; write sqlite:///PATH or postgresql://…") from error
    match parsed.get_backend_name():
        case "sqlite":
            engine = create_engine(parsed, connect_args={"timeout": _BUSY_MS / 1000}, hide_parameters=True)
            event.listen(engine, "connect", _prepare)
            event.listen(engine, "begin", _begin)
            return engine
        case "postgresql":
            return _postgresql(parsed.set(drivername="postgresql+psycopg"), connect_s)
        case other:
            raise ConfigurationError(f"no database of the kind {other!r}; write sqlite:///PATH or postgresql://…")


def writing(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that writes. SQLite gives it the only right to write from its beginning.

    A transaction that reads first and writes later would fail there, when another one has written in between.
    """
    return engine.execution_options(writing=True).begin()


def _postgresql(url: Any, connect_s: int) -> Engine:  # noqa: ANN401 - sqlalchemy.URL
    try:
        # Asked before each use: the server may have been restarted since.
        return create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args={"connect_timeout": connect_s})
    except ModuleNotFoundError as error:
        raise ConfigurationError("PostgreSQL needs psycopg: pip install 'fumehood[postgresql]'") from error


def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3.Connection
    # Transactions are begun by `_begin` alone, not by the driver's guess at what a statement does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={_BUSY_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
