"""Health is false when it should be, and says what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from redis import Redis

from sandbox.database import open_database
from sandbox.observability.health import ESCALATION_S, checks
from sandbox.submissions import lanes, workers
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from sandbox.submissions.workers import GONE_S, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.servers import RedisServer

NOW = 1_800_000_000.0
WORKER = WorkerRow(name="here-1", host="here", slots=3, started=NOW, seen=NOW, draining=False)
ESCALATION = Request(
    package="pkg:pypi/thing@1.0", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, lane="escalation"
)


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    client = Redis.from_url(redis_server.url)
    yield client
    client.close()


def _failing(engine: Engine, redis: Redis | None, now: float = NOW, room_mb: int | None = None) -> dict[str, str]:
    return {check.name: check.told for check in checks(engine, redis, now, room_mb, 100) if not check.ok}


def test_all_is_well_with_a_worker_and_nothing_that_waits(engine: Engine, redis: Redis) -> None:
    workers.register(engine, WORKER)
    assert _failing(engine, redis, room_mb=100) == {}


def test_workers_that_are_silent_or_drain_are_named(engine: Engine, redis: Redis) -> None:
    assert _failing(engine, redis) == {"workers": "there is none: start `fumehood worker`, or `fumehood up`"}
    workers.register(engine, WORKER)
    silent = _failing(engine, redis, NOW + GONE_S + 130)
    assert silent == {
        "workers": "all are silent (here-1 for 3 min): are their hosts up, and do they reach the database?"
    }
    workers.register(engine, msgspec.structs.replace(WORKER, name="there-2", seen=NOW + GONE_S + 130, draining=True))
    assert "drain (there-2)" in _failing(engine, redis, NOW + GONE_S + 130)["workers"]
    workers.register(engine, msgspec.structs.replace(WORKER, name="there-3", seen=NOW + GONE_S + 130))
    assert _failing(engine, redis, NOW + GONE_S + 130) == {}


def test_an_escalation_that_waits_for_too_long(engine: Engine, redis: Redis) -> None:
    workers.register(engine, msgspec.structs.replace(WORKER, seen=NOW + ESCALATION_S))
    submit(engine, ESCALATION, NOW)
    assert _failing(engine, redis, NOW + ESCALATION_S - 1) == {}
    assert _failing(engine, redis, NOW + ESCALATION_S).keys() == {"escalations"}
    lanes.pause(engine, "escalation", "the index is down", NOW)
    assert "its lane is paused (the index is down)" in _failing(engine, redis, NOW + ESCALATION_S)["escalations"]


def test_a_full_disk(engine: Engine, redis: Redis) -> None:
    workers.register(engine, WORKER)
    assert _failing(engine, redis, room_mb=99).keys() == {"evidence disk"}


def test_a_redis_that_is_away_refuses_us_or_was_never_started(
    engine: Engine, redis: Redis, redis_server: RedisServer
) -> None:
    workers.register(engine, WORKER)
    assert _failing(engine, None)["redis"].startswith("none runs here: what is submitted is kept")
    redis.config_set("requirepass", "secret")
    with Redis.from_url(redis_server.url) as stranger:
        assert _failing(engine, stranger)["redis"].startswith("it refuses us: ")
    redis_server.stop()
    assert _failing(engine, redis)["redis"].startswith("it does not answer: ")


def test_a_database_that_is_not_made_is_foreign_or_away(tmp_path: Path, redis: Redis) -> None:
    unknown = "cannot be known without the database"
    missing = tmp_path / "missing.sqlite"
    failing = _failing(open_database(f"sqlite:///{missing}"), redis)
    assert failing["database"].startswith("it is not made yet: ")
    assert failing["workers"] == failing["escalations"] == unknown
    assert not missing.exists()
    (tmp_path / "foreign.sqlite").write_bytes(b"not a database, but a file of some length" * 100)
    assert _failing(open_database(f"sqlite:///{tmp_path / 'foreign.sqlite'}"), redis) == {
        "database": "it does not answer; `fumehood config check` says why",
        "workers": unknown,
        "escalations": unknown,
    }
