"""Who takes their time holds up nobody for long."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from sandbox.api import bounds
from sandbox.api.protocol import Protocol

if TYPE_CHECKING:
    from tests.sandbox.api.conftest import Offered


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


def _connected(api: Offered) -> socket.socket:
    where = urlsplit(api.url)
    # Far longer than the server's patience in these tests: whoever is still connected then was not let go.
    return socket.create_connection((where.hostname, where.port), timeout=60)
