"""Whoever watches the service by HTTP is told by the status already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sandbox.submissions import workers
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered
    from tests.servers import RedisServer


@ON_BOTH
def test_checks_fail_by_their_status_while_something_does_not_hold(
    configuration: Configuration, offer: Callable[..., Offered], redis_server: RedisServer
) -> None:
    api = offer(msgspec.structs.replace(configuration, redis=redis_server.url))
    now = api.service.clock()
    with api.client("submit") as client:
        alone = client.get("/checks")
        assert (alone.status_code, alone.json()["healthy"]) == (503, False)
        assert {it["name"] for it in alone.json()["checks"] if not it["ok"]} == {"workers"}
        row = workers.WorkerRow(name="host-1.42", host="host-1", slots=2, started=now, seen=now, draining=False)
        workers.register(api.service.engine, row)
        well = client.get("/checks")
        assert (well.status_code, well.json()["healthy"]) == (200, True)
        redis_server.stop()
        broken = client.get("/checks")
        assert broken.status_code == 503
        assert {it["name"] for it in broken.json()["checks"] if not it["ok"]} == {"redis"}
        assert client.get("/ready").status_code == 200
