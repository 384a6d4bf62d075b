"""The migrations lead to the tables that the code knows, on both databases, whoever runs them and however often."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, func, insert, inspect, select, text, update

from collector.store.schema import LABELS
from sandbox.cli import cli
from sandbox.commands import guarded
from sandbox.database import NEWER, is_current, is_made, is_newer, open_database, upgrade, writing
from sandbox.database.migrate import revisions
from sandbox.database.schema import METADATA
from sandbox.errors import ConfigurationError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Column, Connection, Engine

LABEL = {"run": "r", "label": "seen", "note": "", "author": "somebody", "created": 0.0}


@pytest.fixture(name="opened")
def opened_databases() -> Iterator[Callable[[str], Engine]]:
    """Opens databases, and closes them after the test."""
    with ExitStack() as stack:

        def opened(url: str) -> Engine:
            engine = open_database(url)
            stack.callback(engine.dispose)
            return engine

        yield opened


def test_the_migrated_tables_are_those_of_the_code(database_url: str, opened: Callable[[str], Engine]) -> None:
    """To renew an unreleased migration, write it anew; later ones are added."""
    engine = opened(database_url)
    assert not is_current(engine)
    upgrade(engine)
    assert is_current(engine)
    assert set(inspect(engine).get_table_names()) == {*METADATA.tables, "alembic_version"}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


_CHECKED = {
    ("submissions", "state"): "done",
    ("deliveries", "state"): "pending",
    ("sweep_runs", "state"): "complete",
    ("sweep_entries", "state"): "pending",
    ("submissions", "lane"): "manual",
    ("tokens", "role"): "admin",
}
"""Columns that take a few values only. All others take what follows from their type, also both ends of a reference."""


def _value(column: Column[Any]) -> object:
    kind: type = column.type.python_type
    if (known := _CHECKED.get((column.table.name, column.name))) is not None:
        return known
    return {str: "x", int: 1, float: 1.5, bool: True, object: {"x": [1, "é"]}}[kind]  # JSON is any object


def _rows(connection: Connection, tables: MetaData) -> dict[str, list[Any]]:
    return {table.name: [tuple(row) for row in connection.execute(select(table))] for table in tables.sorted_tables}


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_nothing_is_lost_on_the_way_from_each_older_version(
    database_url: str, opened: Callable[[str], Engine], revision: str
) -> None:
    engine = opened(database_url)
    upgrade(engine, revision)
    assert not is_current(engine)
    before = MetaData()
    with writing(engine) as connection:
        before.reflect(connection)
        before.remove(before.tables["alembic_version"])
        for table in before.sorted_tables:
            connection.execute(insert(table), {column.name: _value(column) for column in table.columns})
        rows = _rows(connection, before)
    assert "submissions" in rows
    assert all(len(there) == 1 for there in rows.values())
    upgrade(engine)
    assert is_current(engine)
    with engine.connect() as connection:
        assert _rows(connection, before) == rows
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def _of_the_future(engine: Engine) -> None:
    upgrade(engine)
    assert not is_newer(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


def test_tables_of_a_newer_version_are_left_alone(database_url: str, opened: Callable[[str], Engine]) -> None:
    engine = opened(database_url)
    _of_the_future(engine)
    assert (is_made(engine), is_current(engine), is_newer(engine)) == (True, False, True)
    with pytest.raises(DatabaseUnavailableError, match="tables are of a newer fumehood; upgrade this one too"):
        upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_tables_of_a_newer_version_are_told_in_one_line(
    tmp_path: Path, opened: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'fumehood.sqlite'}"
    _of_the_future(opened(url))
    monkeypatch.setenv("FUMEHOOD_DATA", str(tmp_path))
    assert guarded(lambda: cli.main(["queue", "list"], prog_name="fumehood", standalone_mode=False)) == 4
    assert capfd.readouterr().err == f"fumehood: the database {url} cannot be used: {NEWER}\n"
    assert guarded(lambda: cli.main(["health"], prog_name="fumehood", standalone_mode=False)) == 1
    assert f"database       {NEWER}" in capfd.readouterr().out
    look = ["config", "check", "--format", "json"]
    assert guarded(lambda: cli.main(look, prog_name="fumehood", standalone_mode=False)) == 4
    found = json.loads(capfd.readouterr().out)
    assert [it for it in found if it["subject"] == "database"] == [
        {"subject": "database", "state": "unusable", "says": f"{url}: {NEWER}"}
    ]


def test_several_may_migrate_at_once_and_again(database_url: str, opened: Callable[[str], Engine]) -> None:
    engines = [opened(database_url) for _ in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(upgrade, engines))
    upgrade(engines[0])
    assert is_current(engines[0])


def test_a_transaction_that_reads_and_then_writes_waits_for_its_turn(
    database_url: str, opened: Callable[[str], Engine]
) -> None:
    """As many come at once as like: none is lost, and none fails because another was quicker."""
    engine = opened(database_url)
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(insert(LABELS), LABEL)

    def count(_number: int) -> None:
        with writing(engine) as connection:
            before: Any = connection.execute(select(LABELS.c.created).with_for_update()).scalar_one()
            connection.execute(update(LABELS).values(created=before + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))
    with engine.connect() as connection:
        assert connection.execute(select(LABELS.c.created, func.count()).group_by(LABELS.c.created)).all() == [(40, 1)]


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/fumehood", "oracle://"])
def test_other_databases_are_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write sqlite:///PATH or postgresql"):
        open_database(url)


def test_a_database_that_is_none_is_told_in_one_line_without_its_password(
    tmp_path: Path, opened: Callable[[str], Engine]
) -> None:
    (tmp_path / "file").write_bytes(b"no database" * 500)
    with pytest.raises(DatabaseUnavailableError, match="file is not a database"):
        upgrade(opened(f"sqlite:///{tmp_path / 'file'}"))
    with pytest.raises(DatabaseUnavailableError) as caught:
        upgrade(opened(f"postgresql://me:secret@/nothing?host={tmp_path}"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
