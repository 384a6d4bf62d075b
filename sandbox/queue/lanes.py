"""The lanes as queues of RQ, and the order in which a worker looks into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer

from sandbox.queue.job import SubmissionJob, job_id
from sandbox.submissions.model import LANES

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis import Redis

    from sandbox.submissions.model import Lane

PREFIX: Final = "fumehood:"


class LaneQueue(Queue):
    """A queue of ours."""

    job_class = SubmissionJob

    @classmethod
    def dequeue_any(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - RQ's signature
        """Wait for a job; an entry whose name is not even text is dropped."""
        try:
            return super().dequeue_any(*args, **kwargs)
        except UnicodeDecodeError as error:
            raise DequeueTimeout from error


def queue(connection: Redis, lane: Lane) -> LaneQueue:
    """The queue of a lane."""
    return LaneQueue(f"{PREFIX}{lane}", connection=connection, serializer=JSONSerializer)


def lane_of(name: str) -> Lane:
    """The lane of a queue of ours, by its name."""
    return next(lane for lane in LANES if name == f"{PREFIX}{lane}")


class Order:
    """Strictly the most urgent lane first, but for one run of every `trickle`, so that sweeps never starve."""

    def __init__(self, trickle: int) -> None:
        self._trickle = trickle
        self._runs = 0

    def lanes(self, paused: Collection[Lane]) -> tuple[Lane, ...]:
        """Where to look for the next run, first to last; without the lanes that are paused."""
        turned = (self._runs + 1) % self._trickle == 0
        order = (LANES[-1], *LANES[:-1]) if turned else LANES
        return tuple(lane for lane in order if lane not in paused)

    def count(self) -> None:
        """A run begins."""
        self._runs += 1


def forget(connection: Redis, lane: Lane, submission: str, attempt: int) -> None:
    """Take an attempt's job out of a lane's queue, if Redis answers: one that is left there finds nothing to claim."""
    try:
        connection.lrem(queue(connection, lane).key, 1, job_id(submission, attempt))
    except RedisError:
        return
