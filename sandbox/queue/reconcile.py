"""Compares rows with what is queued and what runs, and repairs what does not agree. Many hosts may do so at once.

Whatever is done here is a compare-and-swap on rows, or one more hint in Redis that nobody minds.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.worker_registration import WORKERS_BY_QUEUE_KEY
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from sandbox.database.schema import SUBMISSIONS
from sandbox.queue.enqueue import Hint, push
from sandbox.queue.job import SubmissionJob
from sandbox.queue.lanes import PREFIX, queue
from sandbox.submissions import attempts, lanes
from sandbox.submissions.model import LANES

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from sandbox.config import QueuePlan
    from sandbox.submissions.attempts import Lost

_log = structlog.get_logger(__name__)
_SHARE_MS: Final = 800
"""Of each second between two times, what has to be over before another host compares the queues again."""
_DONE: Final = f"{PREFIX}reconciled"
"""Stands in Redis while queues need not be compared again."""
_SETTLED_S: Final = 3.0
"""What changed since is left for the next time: whoever changed it is about to queue it."""


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """What was repaired."""

    lost: int = 0
    """Attempts whose workers are gone."""
    queued: int = 0
    """Rows that wait, but were in no queue."""
    failed: int = 0
    """Jobs that RQ had put aside."""


class Reconciler:
    """Keeps rows and queues in agreement, as long as somebody calls it now and then."""

    def __init__(self, engine: Engine, connection: Redis, plan: QueuePlan) -> None:
        self._engine = engine
        self._connection = connection
        self._plan = plan
        self._answering_since: float | None = None

    def reconcile(self) -> Reconciled:
        """Repair everything once.

        Raises:
            DBAPIError: The database does not answer. Nothing is given up for that: see `_lose_expired`.
        """
        now = time.time()
        try:
            lost = self._lose_expired(now)
        except DBAPIError:
            # Nobody could beat while it was away: the next one that it answers gives them time to.
            self._answering_since = None
            raise
        self.tell(lost)
        try:
            # Once for all hosts in the time between two; it is no lock, as two at once would do no harm.
            pause_ms = self._plan.reconcile_seconds * _SHARE_MS
            if not self._connection.set(_DONE, "1", nx=True, px=pause_ms):
                if 0 <= self._connection.pttl(_DONE) <= pause_ms:
                    return Reconciled(lost=len(lost))
                # Not by one of us: it would stand longer than any of us says, or for ever.
                self._connection.set(_DONE, "1", px=pause_ms)
            self._remove_foreign()
            return Reconciled(lost=len(lost), queued=self._queue_missing(now), failed=self._clear_failed())
        except RedisError as error:
            _log.warning("redis does not answer; what waits is queued later", error=str(error))
            return Reconciled(lost=len(lost))

    def lose_owned(self, owner: str, reason: str) -> None:
        """Give up at once what a process of ours had that has just ended."""
        lost = attempts.lose_owned(self._engine, owner, reason, time.time())
        self.tell(lost)
        with contextlib.suppress(RedisError):
            push(
                self._connection,
                [
                    Hint(it.submission.lane, it.submission.id, it.submission.attempt + 1)
                    for it in lost
                    if it.submission.state == "queued"
                ],
            )

    def tell(self, lost: list[Lost]) -> None:
        """Log what was lost."""
        for it in lost:
            row = it.submission
            told = {"submission": row.id, "attempt": row.attempt, "owner": it.owner, "state": row.state}
            if row.state == "dead":
                _log.error("submission is dead", package=row.package, reason=row.reason, **told)
            else:
                _log.warning("an attempt was lost", **told)

    def _lose_expired(self, now: float) -> list[Lost]:
        """Take back what expired; not at once after the database was away, as nobody could beat in that time."""
        if self._answering_since is None:
            with self._engine.connect() as connection:
                connection.execute(select(1))
            self._answering_since = now
        if now - self._answering_since < 2 * self._plan.heartbeat_seconds:
            return []
        return attempts.lose_expired(self._engine, now)

    def _remove_foreign(self) -> None:
        """Remove what lies in place of a key of ours and is of another type: one such key stops every slot."""
        kinds = {Worker.redis_workers_keys: b"set", Queue.redis_queues_keys: b"set"}
        for lane in LANES:
            here = queue(self._connection, lane)
            kinds |= {
                here.key: b"list",
                here.intermediate_queue_key: b"list",
                StartedJobRegistry(queue=here).key: b"zset",
                FailedJobRegistry(queue=here).key: b"zset",
                WORKERS_BY_QUEUE_KEY % here.name: b"set",
            }
        with self._connection.pipeline(transaction=False) as asked:
            for key in kinds:
                asked.type(key)
            found = dict(zip(kinds, asked.execute(), strict=True))
        foreign = [key for key, kind in found.items() if kind not in {b"none", kinds[key]}]
        if foreign:
            _log.error("keys in redis that are none of ours were removed", keys=foreign)
            self._connection.delete(*foreign)

    def _queue_missing(self, now: float) -> int:
        table = SUBMISSIONS.c
        closed = lanes.paused(self._engine)
        queued = {
            lane: {
                name if isinstance(name, bytes) else name.encode()
                for name in self._connection.lrange(queue(self._connection, lane).key, 0, -1)
            }
            for lane in LANES
        }
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(table.lane, table.id, table.attempt)
                .where(table.state == "queued", table.not_before <= now, table.changed < now - _SETTLED_S)
                .order_by(table.created, table.id)
            ).all()
        waiting = [Hint(lane, identifier, attempt + 1) for lane, identifier, attempt in rows if lane not in closed]
        missing = [hint for hint in waiting if hint.job.encode() not in queued[hint.lane]]
        if missing:
            _log.info("rows that wait were in no queue", count=len(missing))
        return push(self._connection, missing)

    def _clear_failed(self) -> int:
        """Forget what RQ put aside as failed: the rows say what became of it."""
        count = 0
        for lane in LANES:
            registry = FailedJobRegistry(queue=queue(self._connection, lane))
            names = registry.get_job_ids(cleanup=False)
            for name in names:
                registry.remove(name)
                self._connection.delete(SubmissionJob.key_for(name))
            count += len(names)
        return count
