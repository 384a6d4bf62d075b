"""Opens the database, and says how it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sandbox.database.turns import Turns
from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Engine

_BUSY_MS: Final = 30_000
_CONNECT_S: Final = 10


def open_database(url: str, *, connect_s: int = _CONNECT_S, patience_s: float | None = None) -> Engine:
    """An engine for a database; nothing is asked of it yet.

    Args:
        url: `sqlite:///PATH`, or `postgresql://USER:PASSWORD@HOST/NAME`, which needs the extra `postgresql`.
        connect_s: After so many seconds a PostgreSQL that does not answer is given up, at each connection.
        patience_s: For whoever must answer soon: so long a lock of somebody else's is waited for, and a free
            connection; and where SQLite was waited for in vain, one at a time goes on trying, while all others who want
            to write fail at once. `None` for whoever can wait.

    Raises:
        ConfigurationError: The URL is not one of these.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError("the database's URL cannot be read; write sqlite:///PATH or postgresql://…") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed, patience_s)
        case "postgresql":
            return _postgresql(parsed.set(drivername="postgresql+psycopg"), connect_s, patience_s)
        case other:
            raise ConfigurationError(f"no database of the kind {other!r}; write sqlite:///PATH or postgresql://…")


def writing(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that writes. SQLite gives it the only right to write from its beginning.

    A transaction that reads first and writes later would fail there, when another one has written in between.
    """
    return engine.execution_options(writing=True).begin()


def _sqlite(url: URL, patience_s: float | None) -> Engine:
    busy_ms = _BUSY_MS if patience_s is None else int(patience_s * 1000)
    pooled = {} if patience_s is None else {"pool_timeout": patience_s}
    engine = create_engine(url, connect_args={"timeout": busy_ms / 1000}, hide_parameters=True, **pooled)
    turns = Turns(bounded=patience_s is not None)

    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3.Connection
        # Transactions are begun by `begin` alone, not by the driver's guess at what a statement does.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={busy_ms}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("writing", False):
            connection.exec_driver_sql("BEGIN")
            return
        with turns.turn():
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _postgresql(url: URL, connect_s: int, patience_s: float | None) -> Engine:
    pooled = {} if patience_s is None else {"pool_timeout": patience_s}
    try:
        # Asked before each use: the server may have been restarted since.
        engine = create_engine(
            url, pool_pre_ping=True, hide_parameters=True, connect_args={"connect_timeout": connect_s}, **pooled
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError("PostgreSQL needs psycopg: pip install 'fumehood[postgresql]'") from error
    if patience_s is not None:

        def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - psycopg.Connection
            connection.execute(f"SET lock_timeout = {int(patience_s * 1000)}")
            connection.commit()

        event.listen(engine, "connect", prepare)
    return engine
