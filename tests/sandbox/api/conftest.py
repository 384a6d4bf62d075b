"""The HTTP interface on loopback, as `fumehood serve` offers it, and clients of every role."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn

from sandbox import tokens
from sandbox.api.app import create_app
from sandbox.api.service import open_service
from sandbox.config import Configuration
from sandbox.database import upgrade
from sandbox.service_commands import server_configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.api.service import Service
    from sandbox.tokens import Role

PREFIX = "/api/v1"


class Offered:
    """A running server."""

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self.url = url
        self._secrets: dict[str, str] = {}

    def secret(self, role: Role, name: str = "") -> str:
        name = name or f"some-{role}"
        if name not in self._secrets:
            _, self._secrets[name] = tokens.create(self.service.engine, name, role, self.service.clock(), None)
        return self._secrets[name]

    def client(self, role: Role | None, name: str = "", **more: Any) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.secret(role, name)}"} if role else {}
        return httpx2.Client(base_url=f"{self.url}{PREFIX}", headers=headers, trust_env=False, **more)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(
        data=tmp_path,
        database=f"sqlite:///{tmp_path / 'fumehood.sqlite'}",
        redis="",
        evidence=str(tmp_path / "evidence"),
        uploads=tmp_path / "uploads",
    )


@pytest.fixture
def offer() -> Iterator[Callable[..., Offered]]:
    """Starts servers; they end with the test."""
    ends: list[Callable[[], None]] = []

    def start(configuration: Configuration, change: Callable[[Service], Service] = lambda it: it) -> Offered:
        server = uvicorn.Server(uvicorn.Config("nothing", log_config=None))
        service = change(open_service(configuration, stopping=lambda: server.should_exit))
        upgrade(service.engine)
        server.config = server_configuration(create_app(service))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def end() -> None:
            server.should_exit = True
            thread.join()
            listening.close()
            service.engine.dispose()

        ends.append(end)
        return Offered(service, f"http://127.0.0.1:{listening.getsockname()[1]}")

    yield start
    for end in ends:
        end()


@pytest.fixture
def api(configuration: Configuration, offer: Callable[..., Offered]) -> Offered:
    return offer(configuration)
