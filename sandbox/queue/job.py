"""The only job there is. Whatever else lies in a queue is refused: nothing of it is imported, unpickled or called.

RQ's own job honours what its hash in Redis says: any importable function, callbacks by name, addresses to be told.
Whoever may write to Redis could run code on the workers. This one reads a single short field, compares it with what we
would have written, and knows nothing else. The function is not looked up by name: the worker hands it over.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import ResponseError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from sandbox.errors import SandboxError
from sandbox.submissions.identifiers import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

FUNCTION: Final = "sandbox.queue.perform.perform"
"""The name that the job carries; a name only."""
_NAME: Final = re.compile(rf"(?P<submission>{IDENTIFIER.pattern})-(?P<attempt>[1-9][0-9]{{0,8}})")
_MAX_BYTES: Final = 1024
"""Of the field `data`, compressed or not; ours has about 100."""
_REFUSED: Final = "refused"


class RefusedJobError(SandboxError):
    """A job in a queue of ours is none of ours."""


def job_id(submission: str, attempt: int) -> str:
    """The id of the job for an attempt at a submission."""
    return f"{submission}-{attempt}"


def parse_job_id(text: str) -> tuple[str, int]:
    """Submission and attempt.

    Raises:
        RefusedJobError: It is no id of ours.
    """
    words = _NAME.fullmatch(text)
    if words is None:
        raise RefusedJobError("its id is not one of ours")
    return words["submission"], int(words["attempt"])


class SubmissionJob(Job):
    """An attempt at a submission, or something that is refused."""

    refusal = ""
    """Why this is no job of ours; empty when it is one."""
    submission = ""
    attempt = 0
    work: Callable[[], None] | None = None
    """Set by the worker that has claimed the attempt."""

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: Any = None) -> Self:  # noqa: A002, ANN401 - RQ's signature
        """Read a job; one that is none of ours is given back as refused, so that its worker lives on."""
        del serializer
        assert connection is not None  # noqa: S101 - RQ always gives it
        try:
            submission, attempt = parse_job_id(id)
        except RefusedJobError as error:
            job = cls(_REFUSED, connection=connection, serializer=JSONSerializer)
            job.refusal = str(error)
            return job
        job = cls(id, connection=connection, serializer=JSONSerializer)
        job.submission, job.attempt = submission, attempt
        job.refresh()
        return job

    def refresh(self) -> None:
        """Read the one field that counts, if it is as short as ours."""
        try:
            length = self.connection.hstrlen(self.key, "data")
            data: Any = self.connection.hget(self.key, "data") if length <= _MAX_BYTES else b""
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            self.refusal = "it is not stored as a job"
            return
        if not length:
            raise NoSuchJobError(f"no such job: {self.key}")
        self.restore({b"data": data})

    def restore(self, raw_data: Any) -> None:  # noqa: ANN401 - RQ's signature
        """Compare with what we would have written."""
        self._status = JobStatus.QUEUED
        self.result_ttl = 0
        ours: list[Any] = [FUNCTION, None, [self.submission, self.attempt], {}]
        self.description = self.id
        if _decoded(raw_data[b"data"]) != ours:
            self.refusal = "it asks for something else than to run a submission"
            return
        self.data = json.dumps(ours).encode()

    @property
    def func(self) -> Any:  # noqa: ANN401 - RQ's signature
        """What the worker handed over, and nothing that a name could lead to.

        Raises:
            RefusedJobError: It handed nothing over.
        """
        if self.work is None or self.refusal:
            raise RefusedJobError(self.refusal or "no worker of ours has claimed it")
        work = self.work
        return lambda _submission, _attempt: work()


def _decoded(data: bytes) -> Any:  # noqa: ANN401 - whatever there is
    """What is in the field; None when that is not JSON."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, _MAX_BYTES)
    except zlib.error:
        text = data
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
