"""One slot of a worker: an RQ worker that claims attempts by their rows, and forks a process for each run.

What differs from RQ's own worker, and why:

| RQ | here |
|---|---|
| runs whatever the job names | only `SubmissionJob`; the rest is refused, counted, dropped |
| ends itself when Redis is away, even with a run going on | waits for Redis; the run needs none |
| a killed run's job fails | the row is given up by compare-and-swap, and queued again |
| a request to stop, twice, kills the run | the run is handed back: it costs none of the submission's attempts |
| obeys commands on a channel of Redis (stop, kill) | hears none: whoever may write to Redis could stop runs |
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException
from rq.worker import Worker, WorkerStatus
from sqlalchemy.exc import DBAPIError

from sandbox.database import writing
from sandbox.database.counters import Tally
from sandbox.pod import kernel
from sandbox.queue.enqueue import enqueue_or_leave
from sandbox.queue.job import SubmissionJob
from sandbox.queue.lanes import LaneQueue, Order, lane_of, queue
from sandbox.queue.perform import perform
from sandbox.queue.room import evidence_room_mb
from sandbox.submissions import attempts, lanes
from sandbox.submissions.attempts import Attempt
from sandbox.submissions.model import LANES
from sandbox.submissions.query import get

if TYPE_CHECKING:
    from types import FrameType

    from redis import Redis
    from rq.job import Job
    from rq.queue import Queue

    from sandbox.queue.work import Work
    from sandbox.submissions.model import Lane

_log = structlog.get_logger(__name__)
_LOOK_AGAIN_S: Final = 5
"""How often a slot that waits looks at which lanes are paused."""
_OUT_OF_WORK_S: Final = 1.0
_REMIND_S: Final = 60
"""How often a slot that waits for room says so again; a log of its own must not fill the disk."""
_WORKER_TTL_S: Final = 60
_MONITOR_S: Final = 10
_MAINTAIN_S: Final = 60
_BESIDES_PHASES_S: Final = 3600
"""What a run may take beside its phases, for fetching and analysing; RQ ends it then."""


class Slot(Worker):
    """Runs one submission at a time."""

    job_class = SubmissionJob
    queue_class = LaneQueue
    max_connection_wait_time = 5.0

    def __init__(self, work: Work, connection: Redis, owner: str) -> None:
        """Prepare.

        Args:
            work: What all runs share.
            connection: Redis; it need not answer yet.
            owner: Name of this process, as rows show it; no other process ever has it.

        Raises:
            RedisError: Redis does not answer.
        """
        super().__init__(
            [queue(connection, lane) for lane in LANES],
            name=owner,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
            job_monitoring_interval=_MONITOR_S,
            maintenance_interval=_MAINTAIN_S,
            default_result_ttl=0,
            log_job_description=False,
        )
        self._work = work
        self._order = Order(work.configuration.queue.trickle)
        self._remind = 0.0
        self._handing_back = False
        self._horse_status = 0
        self._longest_s = _BESIDES_PHASES_S + max(
            sum(budget.seconds for budget in profile.phases.values()) for profile in work.profiles.values()
        )

    # What to do next

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job in the lanes that are open; None when this slot is to end."""
        del max_idle_time
        while not self._stop_requested:
            open_lanes = self._open_lanes()
            if not open_lanes:
                self.heartbeat()
                time.sleep(_OUT_OF_WORK_S)
                continue
            self._ordered_queues = [queue(self.connection, lane) for lane in open_lanes]
            found = super().dequeue_job_and_maintain_ttl(timeout, _LOOK_AGAIN_S)
            if found is not None:
                return found
        return None

    def _open_lanes(self) -> tuple[Lane, ...]:
        """Where to look, in order; nowhere while the database is away or the disk is full."""
        free, wanted = evidence_room_mb(self._work.configuration), self._work.configuration.worker.free_mb
        if free < wanted:
            if time.monotonic() >= self._remind:
                _log.warning("no room for evidence; waiting", free_mb=free, wanted_mb=wanted)
                self._remind = time.monotonic() + _REMIND_S
            return ()
        self._remind = 0.0
        return self._order.lanes(self._paused())

    def _paused(self) -> frozenset[Lane]:
        """The lanes that are paused; all of them while the database is away."""
        try:
            return frozenset(lanes.paused(self._work.engine))
        except DBAPIError as error:
            _log.warning("the database does not answer; waiting", error=str(error.orig))
            return frozenset(LANES)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Claim what the job names, and run it in a process of its own; see to it that the row is ended or given up."""
        assert isinstance(job, SubmissionJob)  # noqa: S101 - by `job_class`
        # A request to stop waits from here on.
        self._state = WorkerStatus.BUSY
        if job.refusal:
            self._refuse(job, lane_of(queue.name))
            return
        if lane_of(queue.name) in self._paused():
            # Since this slot began to wait; its row is queued again when the lane goes on.
            self._drop(job)
            return
        attempt = Attempt(submission=job.submission, number=job.attempt, owner=self.name)
        plan = self._work.configuration.queue
        try:
            row = attempts.claim(self._work.engine, attempt, time.time(), plan.lease_seconds)
        except DBAPIError as error:
            _log.warning("the database does not answer; the reconciler queues this again", error=str(error.orig))
            return
        if row is None:
            _log.debug("nothing to claim", job=job.id)
            self._drop(job)
            return
        self._order.count()
        job.origin = queue.name
        job.timeout = self._longest_s
        job.work = lambda: perform(self._work, row, attempt)
        self._horse_status = -1
        try:
            super().execute_job(job, queue)
        except RedisError as error:
            _log.warning("redis does not answer; the row has the result all the same", error=str(error))
        finally:
            self._settle(attempt)

    def _settle(self, attempt: Attempt) -> None:
        """Give up, or hand back, what its process left undone."""
        engine, now = self._work.engine, time.time()
        try:
            if self._handing_back or self._horse_status == -1:
                attempts.hand_back(engine, attempt, "the worker had to stop", now)
            else:
                attempts.lose(engine, attempt, f"its process ended ({self._ended()})", now)
            row = get(engine, attempt.submission)
        except DBAPIError as error:
            _log.warning("the database does not answer; the lease runs out instead", error=str(error.orig))
            return
        if row is not None and row.state == "queued" and row.not_before <= now:
            enqueue_or_leave(self.connection, [row])
        if row is not None and row.state == "dead":
            _log.error("submission is dead", submission=row.id, package=row.package, reason=row.reason)

    def _ended(self) -> str:
        status = self._horse_status
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        return f"exit code {os.waitstatus_to_exitcode(status)}"

    def _refuse(self, job: SubmissionJob, lane: Lane) -> None:
        _log.error("a job that is none of ours was refused", lane=lane, reason=job.refusal)
        self._drop(job)
        with contextlib.suppress(DBAPIError), writing(self._work.engine) as connection:
            tally = Tally()
            tally.add("refused_jobs_total", lane=lane)
            tally.write(connection)

    def _drop(self, job: SubmissionJob) -> None:
        with contextlib.suppress(RedisError):
            self.connection.delete(job.key)

    # The process of a run

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Become the process of one run."""
        # With the slot's end, however it comes, ends the run; what it leaves is told by its lease.
        kernel.die_with_parent(signal.SIGKILL)
        if self._handing_back or os.getppid() != self.pid:
            os._exit(1)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        # The parent's connections are the parent's.
        self._work.engine.dispose(close=False)
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: Queue, execution: Any) -> bool:  # noqa: ANN401 - RQ's signature
        """Run it, in its own process; then clear away what RQ keeps of it.

        RQ's own way of ending a job fails when Redis has forgotten the job meanwhile, or does not answer.
        """
        del queue
        with self.death_penalty_class(job.timeout or self._longest_s, JobTimeoutException, job_id=job.id):
            job.perform()
        with contextlib.suppress(RedisError), self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.delete(job.key)
            pipeline.execute()
        return True

    def wait_for_horse(self) -> tuple[Any, Any, Any]:
        """Wait for the run's process, and keep how it ended."""
        if self._handing_back:
            self.kill_horse()
        pid, status, usage = super().wait_for_horse()
        self._horse_status = status or 0
        return pid, status, usage

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the run's process and its group; RQ would take its own group, if asked before the process has one."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._horse_pid, sig)
            os.killpg(self._horse_pid, sig)

    # Requests to stop

    def _install_signal_handlers(self) -> None:
        """SIGTERM and SIGINT: finish first; the second one, and SIGQUIT: hand back at once."""
        signal.signal(signal.SIGINT, self.request_stop)
        signal.signal(signal.SIGTERM, self.request_stop)
        signal.signal(signal.SIGQUIT, self.request_force_stop)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """End after the run that goes on."""
        if self._stop_requested:
            self.request_force_stop(signum, frame)
            return
        self._stop_requested = True
        if self._state != WorkerStatus.BUSY:
            raise StopRequested

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Hand the run back, then end."""
        del signum, frame
        self._stop_requested = self._handing_back = True
        if self._horse_pid:
            self.kill_horse()
        elif self._state != WorkerStatus.BUSY:
            raise StopRequested

    # A Redis that is away

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:  # noqa: ANN401 - RQ's signature
        """Tell RQ that this slot lives, if it listens."""
        with contextlib.suppress(RedisError):
            super().heartbeat(timeout, pipeline)

    def maintain_heartbeats(self, job: Job, execution: Any) -> None:  # noqa: ANN401 - RQ's signature
        """Tell RQ that the run goes on, if it listens."""
        with contextlib.suppress(RedisError):
            super().maintain_heartbeats(job, execution)

    def set_state(self, state: str, pipeline: Any = None) -> None:  # noqa: ANN401 - RQ's signature
        """Tell RQ what this slot does, if it listens."""
        with contextlib.suppress(RedisError):
            super().set_state(state, pipeline)

    def run_maintenance_tasks(self) -> None:
        """Let RQ clean up, if it can."""
        with contextlib.suppress(RedisError):
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def teardown(self) -> None:
        """Say goodbye, if anybody listens."""
        with contextlib.suppress(RedisError):
            super().teardown()  # type: ignore[no-untyped-call]

    def check_for_suspension(self, burst: bool) -> None:
        """Nothing: lanes are paused by their rows."""

    def subscribe(self) -> None:
        """Nothing: no command is taken from Redis."""

    def unsubscribe(self) -> None:
        """Nothing, likewise."""
