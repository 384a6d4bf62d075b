"""What waits comes back into the queues, whatever lies in Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sandbox.config import QueuePlan
from sandbox.database import open_database, upgrade
from sandbox.queue.lanes import PREFIX
from sandbox.queue.reconcile import Reconciler
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit

if TYPE_CHECKING:
    import pytest

    from tests.servers import RedisServer

REQUEST = Request(package="pkg:pypi/thing@1.0", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64)


def test_nobody_stops_it_by_a_mark_that_stands_for_ever(
    database_url: str, redis_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    engine, redis = open_database(database_url), redis_server.client()
    request.addfinalizer(engine.dispose)
    request.addfinalizer(redis.close)
    upgrade(engine)
    submit(engine, REQUEST, time.time() - 60)
    redis.set(f"{PREFIX}reconciled", "for ever")
    reconciler = Reconciler(engine, redis, QueuePlan(reconcile_seconds=3600))
    assert reconciler.reconcile().queued == 1
    # Others of our own kind are heeded.
    redis.flushall()
    assert reconciler.reconcile().queued == 1
    redis.delete("rq:queue:fumehood:manual")
    assert reconciler.reconcile().queued == 0
