"""Nothing that lies in Redis is run, but attempts at submissions."""

from __future__ import annotations

import json
import pickle
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from rq import Callback, Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from sandbox.queue.enqueue import Hint, push
from sandbox.queue.job import FUNCTION, RefusedJobError, SubmissionJob
from sandbox.queue.lanes import LaneQueue, queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from tests.servers import RedisServer

ID = "01kdz0qv00000000000000000a"
OTHER = "01kdz0qv00000000000000000b"
NAME = f"{ID}-1"


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    client = redis_server.client()
    yield client
    client.close()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('unpickled')",)


def _popped(redis: Redis) -> SubmissionJob:
    found = LaneQueue.dequeue_any([queue(redis, "manual")], None, connection=redis, job_class=SubmissionJob)
    assert found
    job, _ = found
    assert isinstance(job, SubmissionJob)
    return job


def _put(redis: Redis, data: bytes, name: str = NAME) -> None:
    redis.hset(f"rq:job:{name}", mapping={"data": data, "success_callback_name": "os.getpid", "timeout": "1e9"})
    redis.rpush(queue(redis, "manual").key, name)


def test_what_we_queue_is_ours(redis: Redis) -> None:
    push(redis, [Hint("manual", ID, 1)])
    job = _popped(redis)
    assert (job.refusal, job.submission, job.attempt) == ("", ID, 1)
    ran: list[bool] = []
    job.work = lambda: ran.append(True)
    job.perform()
    assert ran


def test_not_even_ours_runs_without_a_claim(redis: Redis) -> None:
    push(redis, [Hint("manual", ID, 1)])
    with pytest.raises(RefusedJobError):
        _popped(redis).perform()


def test_a_function_by_name_is_refused_with_its_callbacks(redis: Redis) -> None:
    foreign = Queue("fumehood:manual", connection=redis, serializer=JSONSerializer)
    foreign.enqueue(
        "os.system", "true", job_id=NAME, on_success=Callback("os.getpid"), on_failure=Callback("os.getpid")
    )
    job = _popped(redis)
    assert job.refusal
    assert job.success_callback is None
    assert job.failure_callback is None
    with pytest.raises(RefusedJobError):
        job.perform()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Bomb()),
        zlib.compress(pickle.dumps(Bomb())),
        zlib.compress(b"0" * 100_000_000),
        b"x" * 100_000,
        b"[" * 900,
        json.dumps([FUNCTION, None, [OTHER, 1], {}]).encode(),
        json.dumps([FUNCTION, None, [ID, 1], {"more": 1}]).encode(),
        json.dumps([FUNCTION, "instance", [ID, 1], {}]).encode(),
        b"",
    ],
    ids=["pickle", "packed-pickle", "bomb", "long", "nested", "other-submission", "more", "instance", "empty"],
)
def test_whatever_is_not_to_the_letter_ours_is_refused(redis: Redis, data: bytes) -> None:
    _put(redis, data)
    if not data:
        with pytest.raises(NoSuchJobError):
            SubmissionJob.fetch(NAME, connection=redis)
        return
    job = _popped(redis)
    assert job.refusal
    assert job.success_callback is None


@pytest.mark.parametrize("name", ["x", f"{ID}-0", f"{ID}-1:2", "../../etc", f"{ID}-1" * 50])
def test_a_name_that_is_none_of_ours_is_refused(redis: Redis, name: str) -> None:
    _put(redis, b"[]", name)
    assert _popped(redis).refusal


def test_a_job_that_is_no_hash_is_refused(redis: Redis) -> None:
    redis.set(f"rq:job:{NAME}", "x")
    redis.rpush(queue(redis, "manual").key, NAME)
    assert _popped(redis).refusal


def test_other_queues_are_never_read(redis: Redis) -> None:
    Queue("default", connection=redis, serializer=JSONSerializer).enqueue("os.system", "true")
    assert LaneQueue.dequeue_any([queue(redis, "manual")], None, connection=redis) is None
    assert Job.exists(Queue("default", connection=redis).job_ids[0], connection=redis)
