"""Metrics are read from the rows, and alerts from metrics that there are."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sandbox.database import writing
from sandbox.database.counters import Tally, read
from sandbox.observability.metrics import exposition
from sandbox.submissions import attempts, lanes, workers
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from sandbox.submissions.workers import WorkerRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis
    from sqlalchemy import Engine

    from tests.servers import RedisServer

ALERTS = Path(__file__).parents[3] / "docs" / "alerts.yaml"
NOW = 1_800_000_000.0
REQUEST = Request(
    package="pkg:pypi/thing@1.0", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, budget=1
)
WORKER = WorkerRow(name="here-1", host="here", slots=3, started=NOW, seen=NOW, draining=False)


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    client = redis_server.client()
    yield client
    client.close()


def _samples(engine: Engine, now: float = NOW) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus's own parser reads them."""
    return {
        sample.name + "".join(f" {label}={value}" for label, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition(engine, now).decode())
        for sample in family.samples
    }


def _attempt(engine: Engine, **changed: object) -> Attempt:
    identifier = submit(engine, msgspec.structs.replace(REQUEST, **changed), NOW).submission.id
    attempt = Attempt(submission=identifier, number=1, owner="here")
    assert attempts.claim(engine, attempt, NOW, 30)
    return attempt


def test_what_waits_and_who_works_is_told_by_lane(engine: Engine) -> None:
    submit(engine, msgspec.structs.replace(REQUEST, lane="sweep"), NOW - 60)
    lanes.pause(engine, "manual", "why not", NOW)
    workers.register(engine, WORKER)
    workers.register(engine, msgspec.structs.replace(WORKER, name="gone-1", seen=NOW - 3600))
    told = _samples(engine)
    assert told["fumehood_queue_depth lane=sweep state=queued"] == 1
    assert told["fumehood_queue_oldest_seconds lane=sweep"] == 60
    assert told["fumehood_queue_oldest_seconds lane=escalation"] == 0
    assert (told["fumehood_lane_paused lane=manual"], told["fumehood_lane_paused lane=sweep"]) == (1, 0)
    assert (told["fumehood_workers"], told["fumehood_slots"]) == (1, 3)


def test_each_end_is_counted_once_with_the_row_that_it_tells_of(engine: Engine) -> None:
    first = _attempt(engine)
    with writing(engine) as connection:
        attempts.finish(connection, first, Result(state="done", run="1", verdict="clean"), NOW)
    with writing(engine) as connection:
        attempts.finish(connection, first, Result(state="done", run="2", verdict="clean"), NOW)
    _attempt(engine, package="pkg:pypi/other@1.0", lane="sweep")
    attempts.lose_expired(engine, NOW + 31)
    told = _samples(engine)
    assert told["fumehood_submissions_ended_total lane=manual state=done"] == 1
    assert told["fumehood_submissions_ended_total lane=sweep state=dead"] == 1
    assert told["fumehood_attempts_total outcome=done"] == 1
    assert told["fumehood_attempts_total outcome=late"] == 1
    assert told["fumehood_leases_lost_total"] == 1


def test_many_processes_count_together(engine: Engine) -> None:
    def count(number: int) -> None:
        tally = Tally()
        tally.add("verdicts_total", verdict="clean" if number % 2 else "malicious")
        tally.add("leases_lost_total", 2)
        with writing(engine) as connection:
            tally.write(connection)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))
    with engine.connect() as connection:
        found = read(connection)
    assert found["leases_lost_total"] == {(): 80}
    assert found["verdicts_total"] == {(("verdict", "clean"),): 20, (("verdict", "malicious"),): 20}


def test_times_are_histograms(engine: Engine) -> None:
    tally = Tally()
    tally.add("phase_seconds_bucket", phase="import", le="2")
    tally.add("phase_seconds_bucket", phase="import", le="+Inf")
    tally.add("phase_seconds_sum", 1001.5, phase="import")
    with writing(engine) as connection:
        tally.write(connection)
    told = _samples(engine)
    assert told["fumehood_phase_seconds_bucket le=1 phase=import"] == 0
    assert told["fumehood_phase_seconds_bucket le=2 phase=import"] == 1
    assert told["fumehood_phase_seconds_bucket le=600 phase=import"] == 1
    assert told["fumehood_phase_seconds_count phase=import"] == 2
    assert told["fumehood_phase_seconds_sum phase=import"] == 1001.5


def test_a_package_can_put_nothing_into_a_label() -> None:
    with pytest.raises(ValueError, match="cannot be a label"):
        Tally().add("verdicts_total", verdict='clean"} 1\nfumehood_up 1')


def test_alerts_are_about_metrics_that_there_are(engine: Engine) -> None:
    families = {family.name for family in text_string_to_metric_families(exposition(engine, NOW).decode())}
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    for rule in rules:
        named = set(re.findall(r"fumehood_\w+", rule["expr"]))
        assert {name.removesuffix("_total") for name in named} <= families, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "action"}
