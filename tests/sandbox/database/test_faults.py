"""What passes by itself is told from what no repetition helps."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from sandbox.database import open_database
from sandbox.database.faults import passes, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from sqlalchemy import Connection, Engine

    from tests.servers import PostgreSQL

    Opened: TypeAlias = Callable[[Engine], Engine]


def _fault(act: Callable[[], object]) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught:
        act()
    return caught.value


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Engines that are given back when the test ends."""
    with ExitStack() as stack:

        def keep(engine: Engine) -> Engine:
            stack.callback(engine.dispose)
            return engine

        yield keep


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM nowhere", "SELEC 1", "INSERT INTO one VALUES (1, 1)", "INSERT INTO one VALUES (2, NULL)"],
)
def test_what_was_asked_is_at_fault(database_url: str, opened: Opened, statement: str) -> None:
    engine = opened(open_database(database_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE one (a INTEGER PRIMARY KEY, b INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO one VALUES (1, 1)"))
    fault = _fault(lambda: _write(engine, statement))
    assert not passes(fault)
    assert "\n" not in told(fault)


def test_who_else_writes_to_sqlite_is_waited_for(tmp_path: Path, opened: Opened) -> None:
    impatient = opened(create_engine(f"sqlite:///{tmp_path / 'x.sqlite'}", connect_args={"timeout": 0}))
    with impatient.connect() as holder:
        holder.exec_driver_sql("CREATE TABLE one (a INTEGER)")
        holder.exec_driver_sql("INSERT INTO one VALUES (1)")
        fault = _fault(lambda: _write(impatient, "INSERT INTO one VALUES (2)"))
    assert passes(fault)
    assert told(fault) == "database is locked"


def test_a_full_disk_is_waited_for(tmp_path: Path, opened: Opened) -> None:
    engine = opened(create_engine(f"sqlite:///{tmp_path / 'x.sqlite'}"))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE one (a BLOB)")
        connection.exec_driver_sql("PRAGMA max_page_count = 4")
        fault = _fault(lambda: connection.exec_driver_sql("INSERT INTO one VALUES (zeroblob(100000))"))
    assert passes(fault)


def test_a_database_that_is_nowhere_is_waited_for(tmp_path: Path) -> None:
    assert passes(_fault(lambda: open_database(f"sqlite:///{tmp_path / 'missing' / 'x.sqlite'}").connect()))


def test_a_database_that_is_none_is_not(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"no database" * 1000)
    assert not passes(_fault(lambda: open_database(f"sqlite:///{tmp_path / 'x.sqlite'}").connect()))


def test_locks_of_postgresql_are_waited_for(postgresql_url: str, opened: Opened) -> None:
    engine = opened(open_database(postgresql_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE one (a INTEGER)")
    with engine.begin() as holder, engine.begin() as other:
        holder.exec_driver_sql("LOCK TABLE one")
        assert passes(_fault(lambda: other.exec_driver_sql("LOCK TABLE one NOWAIT")))


def test_a_postgresql_that_is_stopped_is_waited_for(own_postgresql: PostgreSQL, opened: Opened) -> None:
    engine = opened(open_database(own_postgresql.create_database()))
    with engine.connect() as connection:
        own_postgresql.stop()
        assert passes(_fault(lambda: _ask(connection)))
    assert passes(_fault(engine.connect))


def _ask(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def _write(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))
