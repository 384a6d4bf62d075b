"""Who waits is told each change as it comes, until the end."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sandbox.database import writing
from sandbox.queue.progress import RowProgress
from sandbox.submissions import attempts, control
from sandbox.submissions.attempts import Attempt, Result
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered

TIMEOUT_S = 120


def _read(answer: httpx2.Response) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if not line and "data" in event:
            yield event | {"data": json.loads(event["data"])}
            event = {}
        elif name:
            event[name] = value


@ON_BOTH
def test_every_phase_is_told_and_then_the_end(api: Offered) -> None:
    submission = api.submitted().id
    engine = api.service.engine
    with (
        api.client("submit", timeout=TIMEOUT_S) as client,
        client.stream("GET", f"/submissions/{submission}/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = _read(answer)
        assert next(events)["data"]["state"] == "queued"
        attempt = api.run(submission)
        assert next(events)["data"]["state"] == "running"
        run = RowProgress()
        run.phase_started("dependencies", 60)
        run.phase_ended("dependencies", "failed", 1.5)
        run.phase_started("install", 120)
        attempts.beat(engine, attempt, api.service.clock(), 30, run.told())
        told = next(events)
        assert told["event"] == "progress"
        assert told["data"]["progress"]["step"] == "install"
        before, now = told["data"]["progress"]["phases"]
        assert (before["name"], before["status"], before["seconds"]) == ("dependencies", "failed", 1.5)
        assert (now["name"], now["budget"], now["status"]) == ("install", 120, None)
        assert before["started"] >= told["data"]["created"], "instants are written in one way"
        api.finish(attempt, state="done", run="r1", verdict="malicious")
        end = next(events)
        assert (end["event"], end["data"]["verdict"]) == ("end", "malicious")
        assert list(events) == []


def test_who_comes_again_is_told_only_what_is_new(api: Offered) -> None:
    submission = api.submitted().id
    url = f"/submissions/{submission}/events"
    with api.client("submit", timeout=TIMEOUT_S) as client:
        with client.stream("GET", url) as answer:
            seen = next(_read(answer))
        with client.stream("GET", url, headers={"Last-Event-ID": seen["id"]}) as answer:
            control.cancel(api.service.engine, submission, "not needed", api.service.clock())
            [end] = _read(answer)
            assert (end["event"], end["data"]["state"]) == ("end", "cancelled")
        again = client.get(url, headers={"Last-Event-ID": end["id"]})
        assert again.status_code == 204
        [end] = _read(client.get(url, headers={"Last-Event-ID": "something else"}))
        assert end["event"] == "end"


@ON_BOTH
def test_a_worker_whose_clock_is_slow_is_heard_too(api: Offered) -> None:
    submission = api.submitted().id
    engine, late = api.service.engine, api.service.clock() - 3600
    with (
        api.client("submit", timeout=TIMEOUT_S) as client,
        client.stream("GET", f"/submissions/{submission}/events") as answer,
    ):
        events = _read(answer)
        assert next(events)["data"]["state"] == "queued"
        attempt = Attempt(submission=submission, number=1, owner="a worker")
        assert attempts.claim(engine, attempt, late, 30)
        assert next(events)["data"]["state"] == "running"
        with writing(engine) as connection:
            assert attempts.finish(connection, attempt, Result(state="done", run="r1"), late)
        assert next(events)["event"] == "end"


def test_many_wait_at_once_and_all_are_told(api: Offered) -> None:
    submissions = [api.submitted().id for _ in range(3)]
    ends: list[str] = []
    begun = threading.Barrier(13, timeout=TIMEOUT_S)

    def wait(submission: str) -> None:
        with (
            api.client("submit", timeout=TIMEOUT_S) as client,
            client.stream("GET", f"/submissions/{submission}/events") as answer,
        ):
            events = _read(answer)
            next(events)
            begun.wait()
            ends.extend(event["data"]["id"] for event in events if event["event"] == "end")

    api.secret("submit")
    waiting = [threading.Thread(target=wait, args=(submissions[number % 3],)) for number in range(12)]
    for thread in waiting:
        thread.start()
    begun.wait()
    for submission in submissions:
        control.cancel(api.service.engine, submission, "", api.service.clock())
    for thread in waiting:
        thread.join(TIMEOUT_S)
    assert sorted(ends) == sorted(submissions * 4)


def test_one_token_does_not_take_every_place(configuration: Configuration, offer: Callable[..., Offered]) -> None:
    plan = msgspec.structs.replace(configuration.api, streams_per_token=2)
    api = offer(msgspec.structs.replace(configuration, api=plan))
    submission = api.submitted().id
    url = f"/submissions/{submission}/events"
    with (
        api.client("submit", timeout=TIMEOUT_S) as client,
        api.client("submit", "another") as other,
        ExitStack() as streams,
    ):
        first, second = (streams.enter_context(client.stream("GET", url)) for _ in range(2))
        refused = client.get(url)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:fumehood:problem:too-many-streams")
        assert int(refused.headers["retry-after"]) > 0
        with other.stream("GET", url) as answer:
            assert next(_read(answer))["data"]["state"] == "queued"
        # What ends makes room: by its own end, and because somebody leaves.
        second.close()
        control.cancel(api.service.engine, submission, "", api.service.clock())
        assert [event["event"] for event in _read(first)][-1] == "end"
        for _ in range(600):
            if client.get(url).status_code == 200:
                return
            threading.Event().wait(0.05)
    pytest.fail("places are not given back")


def test_what_is_not_there_is_a_problem_and_no_stream(api: Offered) -> None:
    with api.client("submit") as client:
        answer = client.get("/submissions/01kb5wq3zt8f6n2v4m9c7x1y0e/events")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_server_that_ends_does_not_wait_for_who_waits(api: Offered) -> None:
    submission = api.submitted().id
    with (
        api.client("submit", timeout=TIMEOUT_S) as client,
        client.stream("GET", f"/submissions/{submission}/events") as answer,
    ):
        events = _read(answer)
        next(events)
        api.stop()
        assert list(events) == []
