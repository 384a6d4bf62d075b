"""What tests of several parts of the service share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.database import open_database, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A new database with current tables: the test is run on SQLite and on PostgreSQL."""
    made = open_database(database_url)
    upgrade(made)
    yield made
    made.dispose()
