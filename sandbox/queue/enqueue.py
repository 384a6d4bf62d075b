"""Puts submissions into their lanes' queues, after their rows were committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from redis.exceptions import RedisError
from rq import Queue

from sandbox.queue.job import FUNCTION, job_id
from sandbox.queue.lanes import queue
from sandbox.submissions.model import LANES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from redis import Redis

    from sandbox.submissions.model import Lane, Submission

_log = structlog.get_logger(__name__)
_BATCH: Final = 500
"""Jobs that are sent to Redis at one time."""
_FAILURE_S: Final = 3600
"""How long RQ remembers what went wrong with a job; the rows remember it for good."""


class Hint(NamedTuple):
    """What Redis is told of a submission that waits."""

    lane: Lane
    submission: str
    attempt: int
    """Number of the attempt to come."""

    @property
    def job(self) -> str:
        """Id of its job."""
        return job_id(self.submission, self.attempt)


def enqueue(connection: Redis, submissions: Iterable[Submission]) -> int:
    """Queue the next attempt at each submission; one that is queued already is queued twice, which is harmless.

    Args:
        connection: Redis.
        submissions: Committed rows; those that do not wait are left out.

    Returns:
        How many were queued.

    Raises:
        RedisError: Redis does not answer. The reconciler queues what is missing later.
    """
    return push(connection, [Hint(row.lane, row.id, row.attempt + 1) for row in submissions if row.state == "queued"])


def push(connection: Redis, hints: Collection[Hint]) -> int:
    """Put jobs at the ends of their lanes' queues; how many. Errors as for `enqueue`."""
    for lane in LANES:
        jobs = [
            Queue.prepare_data(
                FUNCTION,
                args=[hint.submission, hint.attempt],
                job_id=hint.job,
                result_ttl=0,
                failure_ttl=_FAILURE_S,
                description=hint.submission,
            )
            for hint in hints
            if hint.lane == lane
        ]
        target = queue(connection, lane)
        for start in range(0, len(jobs), _BATCH):
            target.enqueue_many(jobs[start : start + _BATCH])
    return len(hints)


def enqueue_or_leave(connection: Redis, submissions: Iterable[Submission]) -> bool:
    """Queue, or leave it to the reconciler when Redis does not answer; whether it did."""
    try:
        enqueue(connection, submissions)
    except RedisError as error:
        _log.warning("redis does not answer; the reconciler queues what was submitted", error=str(error))
        return False
    return True
