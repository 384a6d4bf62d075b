"""Whoever keeps the database locked stops nobody for long: requests are told to come again."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import msgspec
import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from sandbox.api import service
from sandbox.database import faults
from sandbox.database.turns import Turns
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered

_MANY = 200
"""Five times as many as the server has threads: one after the other for 30 seconds each would outlast the client."""


@contextmanager
def _locked(url: str) -> Iterator[None]:
    """Another program keeps the database to itself."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE submissions IN ACCESS EXCLUSIVE MODE")
            yield
            other.rollback()


@pytest.fixture
def api(configuration: Configuration, offer: Callable[..., Offered], monkeypatch: pytest.MonkeyPatch) -> Offered:
    monkeypatch.setattr(service, "_PATIENCE_S", 0.2)
    plan = msgspec.structs.replace(configuration.api, requests_per_minute=1_000_000)
    return offer(msgspec.structs.replace(configuration, api=plan))


@ON_BOTH
def test_who_meets_a_lock_is_told_to_come_again(api: Offered) -> None:
    there = api.submitted().id
    sqlite = api.service.engine.dialect.name == "sqlite"
    with api.client("submit") as client, ThreadPoolExecutor(_MANY) as pool:
        with _locked(api.service.configuration.database):
            asked = [
                pool.submit(client.post, "/submissions", json={"purl": f"pkg:pypi/a{number}"})
                for number in range(_MANY if sqlite else 10)
            ]
            answers = [it.result() for it in asked]
            assert {it.status_code for it in answers} == {503}
            assert all(int(it.headers["retry-after"]) > 0 for it in answers)
            assert {it.json()["type"] for it in answers} == {"urn:fumehood:problem:database-unavailable"}
            if sqlite:
                # Who writes keeps nobody from reading.
                assert client.get(f"/submissions/{there}").status_code == 200
        assert client.post("/submissions", json={"purl": "pkg:pypi/a"}).status_code == 201


def test_one_waits_for_all() -> None:
    turns = Turns(bounded=True)
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    with pytest.raises(OperationalError), turns.turn():
        raise OperationalError("BEGIN IMMEDIATE", None, locked)

    def other() -> bool:
        try:
            with turns.turn():
                return True
        except OperationalError as error:
            # As whoever can wait for the database has to know it.
            return not faults.passes(error)

    with ThreadPoolExecutor(1) as pool:
        with turns.turn():
            assert not pool.submit(other).result()
        # The one who tried came through: nobody is refused any more.
        with turns.turn():
            assert pool.submit(other).result()


def test_who_can_wait_is_never_refused_at_once() -> None:
    turns, locked = Turns(bounded=False), sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    with pytest.raises(OperationalError), turns.turn():
        raise OperationalError("BEGIN IMMEDIATE", None, locked)
    came = threading.Event()
    with turns.turn(), ThreadPoolExecutor(1) as pool:

        def other() -> None:
            with turns.turn():
                came.set()

        pool.submit(other).result()
    assert came.is_set()
