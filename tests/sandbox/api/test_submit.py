"""A request becomes a row before it is answered, once for the same work."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import func, select

from sandbox.database.schema import KEYS
from sandbox.submissions import query
from sandbox.submissions.keys import KEPT_S
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered

THING = {"purl": "pkg:pypi/Some_Thing@1.0.0"}


@ON_BOTH
def test_what_is_answered_is_committed(api: Offered) -> None:
    with api.client("submit") as client:
        answer = client.post("/submissions", json=THING | {"lane": "escalation"})
        assert answer.status_code == 201
        made = answer.json()
        assert (made["package"], made["state"], made["lane"]) == ("pkg:pypi/some-thing@1.0.0", "queued", "escalation")
        assert made["submitter"] == "some-submit"
        row = query.get(api.service.engine, made["id"])
        assert row
        assert row.state == "queued"
        assert client.get(answer.headers["location"].removeprefix("/api/v1")).json()["id"] == made["id"]


@ON_BOTH
def test_the_same_again_is_answered_by_the_first(api: Offered) -> None:
    with api.client("submit") as one, api.client("submit", "another") as two:
        first = one.post("/submissions", json=THING | {"lane": "sweep"}).json()
        again = two.post("/submissions", json=THING | {"lane": "escalation"})
        assert again.status_code == 200
        assert (again.json()["id"], again.json()["new"], again.json()["lifted"]) == (first["id"], False, True)
        forced = two.post("/submissions", json=THING | {"force": True})
        assert forced.status_code == 201
        assert forced.json()["id"] != first["id"]


@ON_BOTH
def test_an_idempotency_key_makes_a_request_one(api: Offered) -> None:
    key = {"Idempotency-Key": "k-1"}
    with api.client("submit") as client:
        first = client.post("/submissions", json=THING | {"force": True}, headers=key)
        again = client.post("/submissions", json=THING | {"force": True}, headers=key)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        other = client.post("/submissions", json={"purl": "pkg:pypi/other"}, headers=key)
        assert other.status_code == 422
        assert other.json()["type"] == "urn:fumehood:problem:idempotency-key-reused"
        # Also where an earlier submission answered.
        known = {"Idempotency-Key": "k-2"}
        first = client.post("/submissions", json={"purl": "pkg:pypi/other"}).json()
        again = client.post("/submissions", json={"purl": "pkg:pypi/other"}, headers=known).json()
        assert (again["id"], again["new"]) == (first["id"], False)
        assert client.post("/submissions", json=THING, headers=known).status_code == 422


@ON_BOTH
def test_old_keys_are_forgotten_where_no_worker_runs(api: Offered, offer: Callable[..., Offered]) -> None:
    with api.client("submit") as client:
        client.post("/submissions", json=THING, headers={"Idempotency-Key": "k-1"})

    def known() -> int:
        with api.service.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(KEYS)).scalar_one()

    assert known() == 1
    later = api.service.clock() + KEPT_S + 1
    offer(api.service.configuration, lambda it: replace(it, clock=lambda: later))
    until = time.monotonic() + 60
    while known():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"purl": "pkg:npm/left-pad"}, "not supported yet"),
        ({"purl": "six"}, "is not a purl"),
        ({"purl": "pkg:pypi/six@not-a-version"}, "is not a version"),
        ({"purl": "pkg:pypi/six?file_name=x"}, "parts that a PyPI package has not"),
        ({"purl": "pkg:pypi/six", "profile": "pipy"}, "choose one of: pypi"),
        ({"purl": "pkg:pypi/six", "lane": "fast"}, "body.lane"),
        ({"purl": "pkg:pypi/six", "wait": True}, "body.wait"),
        ({"purl": "pkg:pypi/six", "webhook": "http://127.0.0.1:1/"}, "the configuration's `webhooks`"),
        ({}, "body.purl"),
        ([], "body"),
    ],
)
def test_a_mistake_is_a_problem_that_says_what_to_do(api: Offered, body: object, says: str) -> None:
    with api.client("submit") as client:
        answer = client.post("/submissions", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert says in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_json_that_does_not_say_that_it_is_is_told_how(api: Offered) -> None:
    """What `curl -d` sends."""
    with api.client("submit") as client:
        sent = {"content": json.dumps(THING), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
        answer = client.post("/submissions", **sent)
    assert answer.status_code == 422
    assert "`Content-Type: application/json`" in answer.json()["detail"]


@ON_BOTH
def test_a_full_lane_says_when_to_come_back(configuration: Configuration, offer: Callable[..., Offered]) -> None:
    plan = msgspec.structs.replace(configuration.queue, manuals=1)
    with offer(msgspec.structs.replace(configuration, queue=plan)).client("submit") as client:
        assert client.post("/submissions", json=THING).status_code == 201
        refused = client.post("/submissions", json={"purl": "pkg:pypi/other"})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["type"] == "urn:fumehood:problem:lane-full"
        # What is there already needs no room.
        assert client.post("/submissions", json=THING).status_code == 200


def test_there_is_nothing_of_an_unknown_id(api: Offered) -> None:
    with api.client("submit") as client:
        assert client.get("/submissions/01kb5wq3zt8f6n2v4m9c7x1y0e").status_code == 404
        assert client.get("/submissions/..%2f").status_code in {404, 422}
        assert client.get("/nowhere").headers["content-type"] == "application/problem+json"
        assert client.delete("/submissions").status_code == 405
