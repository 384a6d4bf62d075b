"""The servers that other tests lean on do what is said of them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
import redis
import sqlalchemy
from redis.backoff import NoBackoff
from redis.retry import Retry

from sandbox.database import is_current, open_database, upgrade
from tests.servers import PostgreSQL, RedisKind, RedisServer
from tests.servers.process import START_S, ServerError, alive, need

if TYPE_CHECKING:
    from collections.abc import Callable

    Starter = Callable[[RedisKind], RedisServer]

_ROOT = Path(__file__).parents[2]
_ONCE = Retry(NoBackoff(), retries=0)
"""The library tries again for seconds, else."""


def _client(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, retry=_ONCE)


@pytest.mark.parametrize("append_only", [True, False])
def test_a_killed_redis_knows_again_what_it_had_written(start_redis: Starter, append_only: bool) -> None:
    server = start_redis(RedisKind(append_only=append_only))
    with _client(server) as client:
        client.set("colour", "green")
        first = server.pid
        server.kill()
        assert not server.running
        with pytest.raises(redis.exceptions.ConnectionError):
            client.ping()

        server.start()

        assert server.pid != first
        assert client.get("colour") == (b"green" if append_only else None)


def test_a_stopped_redis_is_there_again_under_the_same_address(redis_server: RedisServer) -> None:
    with _client(redis_server) as client:
        client.set("colour", "green")
        redis_server.restart()
        assert client.get("colour") == b"green"


def test_redis_by_tls_keeps_strangers_out(start_redis: Starter) -> None:
    server = start_redis(RedisKind(tls=True, users=("user reader on >secret ~fumehood:* +get +ping",)))
    with _client(server) as client:
        assert client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("fumehood:colour", "green")
    with (
        redis.Redis(
            host=server.address, port=server.port, ssl=True, ssl_ca_certs=str(server.authority), retry=_ONCE
        ) as stranger,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        stranger.ping()
    with (
        redis.Redis(host=server.address, port=server.port, ssl=True, retry=_ONCE) as unsure,
        pytest.raises(redis.exceptions.ConnectionError, match="certificate"),
    ):
        unsure.ping()


def test_two_redis_know_nothing_of_each_other(start_redis: Starter) -> None:
    one, other = start_redis(RedisKind()), start_redis(RedisKind(tcp=True))
    with _client(one) as left, _client(other) as right:
        left.set("colour", "green")
        assert right.dbsize() == 0


def test_a_killed_cluster_has_what_was_committed(own_postgresql: PostgreSQL) -> None:
    with psycopg.connect(own_postgresql.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE colours AS SELECT 'green' AS name")
        family = psutil.Process(own_postgresql.pid).children()
        own_postgresql.kill()
        assert not any(map(alive, family))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    own_postgresql.start()

    with psycopg.connect(own_postgresql.url) as connection:
        assert connection.execute("SELECT name FROM colours").fetchall() == [("green",)]


def test_each_test_has_a_database_of_its_own(postgresql: PostgreSQL) -> None:
    one, other = postgresql.create_database(), postgresql.create_database()
    with psycopg.connect(one) as left, psycopg.connect(other) as right:
        left.execute("CREATE TABLE colours (name text)")
        left.commit()
        assert right.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'colours'").fetchone() == (0,)
    postgresql.drop_database(one)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one)
    postgresql.drop_database(other)


def test_the_service_finds_its_tables_in_both_databases(database_url: str) -> None:
    engine = open_database(database_url)
    upgrade(engine)
    assert is_current(engine)
    assert "submissions" in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()


def test_a_server_ends_with_the_tests_that_started_it() -> None:
    """Even when they are killed, so that no server is left on a developer's machine."""
    program = (
        "from tests.servers import PostgreSQL, RedisKind, RedisServer\n"
        "servers = RedisServer(RedisKind()), PostgreSQL()\n"
        "for server in servers: server.start()\n"
        "print(*(f'{server.pid} {server.directory}' for server in servers), flush=True)\n"
        "input()\n"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
    )
    assert tests.stdin is not None
    assert tests.stdout is not None
    with tests.stdin, tests.stdout:
        words = tests.stdout.readline().split()
        servers = [psutil.Process(int(word)) for word in words[::2]]
        tests.send_signal(signal.SIGKILL)
        tests.wait()
    _, left = psutil.wait_procs(servers, START_S)
    for directory in words[1::2]:
        shutil.rmtree(directory)
    assert not any(map(alive, left))


def test_a_server_that_is_not_installed_is_no_reason_to_skip() -> None:
    with pytest.raises(ServerError, match="apt-get install nothing-like-it"):
        need("nothing-like-it-server", "nothing-like-it")
