"""Who takes their time holds up nobody for long."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from sandbox.api import bounds
from sandbox.api.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered

_THREADS = 40
"""Of the server, for what waits."""
_PATIENCE_S = 60


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protocol, "first_request_s", 0.2)
    monkeypatch.setattr(bounds, "_IDLE_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"", b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nX-Long: "])
def test_a_connection_that_asks_for_nothing_is_closed(api: Offered, begun: bytes) -> None:
    with _connected(api) as connection:
        connection.sendall(begun)
        assert connection.recv(1) == b""
    with api.client(None) as client:
        assert client.get("/health").status_code == 200


@pytest.mark.usefixtures("impatient")
def test_a_body_that_stops_is_not_waited_for(api: Offered) -> None:
    with _connected(api) as connection:
        head = b"POST /api/v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: 9\r\n\r\n{")
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_health_is_told_while_everything_else_waits(
    configuration: Configuration, offer: Callable[..., Offered]
) -> None:
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def clock() -> float:
        waiting.release()
        go_on.wait(_PATIENCE_S)
        return time.time()

    api = offer(configuration, lambda service: dataclasses.replace(service, clock=clock))
    with api.client(None, headers={"Authorization": "Bearer nothing"}) as client, ThreadPoolExecutor(_THREADS) as pool:
        asked = [pool.submit(client.get, "/lanes") for _ in range(_THREADS)]
        try:
            assert all(waiting.acquire(timeout=_PATIENCE_S) for _ in range(_THREADS))
            assert client.get("/health").status_code == 200
        finally:
            go_on.set()
        assert {it.result().status_code for it in asked} == {401}


def _connected(api: Offered) -> socket.socket:
    where = urlsplit(api.url)
    # Far longer than the server's patience in these tests: whoever is still connected then was not let go.
    return socket.create_connection((where.hostname, where.port), timeout=60)
