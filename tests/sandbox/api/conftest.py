"""The HTTP interface on loopback, as `fumehood serve` offers it, and clients of every role."""

from __future__ import annotations

import shutil
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest
import uvicorn

from sandbox import tokens
from sandbox.api.app import create_app
from sandbox.api.service import open_service
from sandbox.config import Configuration
from sandbox.database import open_database, upgrade, writing
from sandbox.service_commands import server_configuration
from sandbox.submissions import attempts
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.api.service import Service
    from sandbox.submissions.model import Submission
    from sandbox.tokens import Role
    from tests.servers import PostgreSQL

THING = "pkg:pypi/thing@1.0"
PREFIX = "/api/v1"
ON_BOTH = pytest.mark.parametrize("configuration", ["sqlite", "postgresql"], indirect=True)
"""For tests of what is read from rows and written to them: on each database that the service knows."""


class Offered:
    """A running server."""

    def __init__(self, service: Service, url: str, stop: Callable[[], None]) -> None:
        self.service = service
        self.stop = stop
        self.url = url
        self._secrets: dict[str, str] = {}

    def secret(self, role: Role, name: str = "") -> str:
        name = name or f"some-{role}"
        if name not in self._secrets:
            _, self._secrets[name] = tokens.create(self.service.engine, name, role, self.service.clock(), None)
        return self._secrets[name]

    def client(self, role: Role | None, name: str = "", **more: Any) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.secret(role, name)}"} if role else more.pop("headers", None)
        return httpx2.Client(
            base_url=f"{self.url}{PREFIX}", headers=headers, trust_env=False, **{"timeout": 60, **more}
        )

    def submitted(self, **more: Any) -> Submission:
        """A submission that is there already."""
        request = Request(package=THING, profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, force=True)
        request = msgspec.structs.replace(request, **more)
        return submit(self.service.engine, request, self.service.clock()).submission

    def run(self, submission: str) -> Attempt:
        """Somebody begins to run it."""
        attempt = Attempt(submission=submission, number=1, owner="a worker")
        assert attempts.claim(self.service.engine, attempt, self.service.clock(), 30)
        return attempt

    def finish(self, attempt: Attempt, **result: Any) -> None:
        """And comes to an end with it."""
        with writing(self.service.engine) as connection:
            assert attempts.finish(connection, attempt, Result(**result), self.service.clock())


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and nothing in them, to be copied: migrating one takes a second."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite"
    engine = open_database(f"sqlite:///{path}")
    upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture
def configuration(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Configuration]:
    """With SQLite, unless the test asks for another database or for both (`ON_BOTH`)."""
    if getattr(request, "param", "sqlite") == "sqlite":
        shutil.copy(request.getfixturevalue("empty_database"), tmp_path / "fumehood.sqlite")
        yield _configuration(tmp_path, f"sqlite:///{tmp_path / 'fumehood.sqlite'}")
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    url = server.create_database(request.getfixturevalue("empty_postgresql"))
    yield _configuration(tmp_path, url)
    server.drop_database(url)


def _configuration(tmp_path: Path, database: str) -> Configuration:
    return Configuration(
        data=tmp_path,
        database=database,
        redis=f"unix://{tmp_path / 'none.sock'}",
        evidence=str(tmp_path / "evidence"),
        uploads=tmp_path / "uploads",
    )


@pytest.fixture(scope="session")
def empty_postgresql(postgresql: PostgreSQL) -> str:
    """The same in PostgreSQL."""
    url = postgresql.create_database()
    engine = open_database(url)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture
def offer() -> Iterator[Callable[..., Offered]]:
    """Starts servers; they end with the test."""
    offered: list[Offered] = []

    def start(configuration: Configuration, change: Callable[[Service], Service] = lambda it: it) -> Offered:
        server = uvicorn.Server(uvicorn.Config("nothing", log_config=None))
        service = change(open_service(configuration, stopping=lambda: server.should_exit))
        server.config = server_configuration(create_app(service))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join()
            listening.close()
            service.engine.dispose()

        offered.append(Offered(service, f"http://127.0.0.1:{listening.getsockname()[1]}", stop))
        return offered[-1]

    yield start
    for it in offered:
        it.stop()


@pytest.fixture
def api(configuration: Configuration, offer: Callable[..., Offered]) -> Offered:
    return offer(configuration)
