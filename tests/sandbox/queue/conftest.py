from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.queue.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import RedisServer


@pytest.fixture
def service(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Service]:
    """A service on SQLite, and one on PostgreSQL."""
    made = Service(tmp_path / "service", database_url, redis_server.url)
    yield made
    made.close()


@pytest.fixture
def embedded(tmp_path: Path, redis_server: RedisServer) -> Iterator[Service]:
    """A service on SQLite alone, where the database makes no difference."""
    made = Service(tmp_path / "service", f"sqlite:///{tmp_path / 'fumehood.sqlite'}", redis_server.url)
    yield made
    made.close()
