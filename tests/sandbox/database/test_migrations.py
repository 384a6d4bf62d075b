"""The migrations lead to the tables that the code knows, on both databases, whoever runs them and however often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, inspect, select, update

from collector.store.schema import LABELS
from sandbox.database import is_current, open_database, upgrade, writing
from sandbox.database.schema import METADATA
from sandbox.errors import ConfigurationError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

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
