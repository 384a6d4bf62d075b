"""The fixtures that `tests.servers` tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import RedisKind, RedisServer
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "database_url",
    "own_postgresql",
    "postgresql",
    "postgresql_url",
    "redis_server",
    "s3",
    "s3_server",
    "start_redis",
]


@pytest.fixture
def start_redis() -> Iterator[Callable[[RedisKind], RedisServer]]:
    """Starts a Redis of any kind; all end with the test."""
    started: list[RedisServer] = []

    def start(kind: RedisKind) -> RedisServer:
        server = RedisServer(kind)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.remove()


@pytest.fixture
def redis_server(start_redis: Callable[[RedisKind], RedisServer]) -> RedisServer:
    """A Redis of the test's own."""
    return start_redis(RedisKind())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The cluster of this test process."""
    yield from _cluster()


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSQL]:
    """A cluster of the test's own, to be treated badly."""
    yield from _cluster()


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """An empty database in PostgreSQL."""
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that the service knows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fumehood.sqlite'}"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The S3-like server of this test process."""
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; the environment says how to get there."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server.create_bucket()


def _cluster() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.remove()
