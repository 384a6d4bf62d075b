"""A database of each kind, with its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.database import open_database, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url)
    upgrade(made)
    yield made
    made.dispose()
