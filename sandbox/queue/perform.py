"""The job: one attempt at a submission, from its row to its result.

The order is what keeps things safe: the evidence is sealed and stored first, then one transaction writes the run's rows
and the result, by compare-and-swap. A process that dies in between leaves a bundle more, never a result less.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from collector.analyse import analyse
from collector.bundle import Bundle
from collector.store.rows import rows
from sandbox.database import writing
from sandbox.database.counters import Tally
from sandbox.database.faults import passes, told
from sandbox.errors import IntakeError, SandboxError, UnavailableError
from sandbox.observability.measures import measure
from sandbox.partial import PartialDirectory
from sandbox.pod import outcome
from sandbox.pod.choose import Wanted
from sandbox.queue import orphans
from sandbox.queue.progress import Heartbeat, RowProgress
from sandbox.queue.work import runs_directory
from sandbox.run import Asked, Job, run
from sandbox.settings import Settings
from sandbox.store.record import record
from sandbox.submissions import attempts, query
from sandbox.submissions.attempts import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.report import Report
    from sandbox.evidence import Seal
    from sandbox.intake import Artefact
    from sandbox.profile import Profile
    from sandbox.queue.work import Work
    from sandbox.submissions.attempts import Attempt
    from sandbox.submissions.model import Submission

_log = structlog.get_logger(__name__)
_COMMIT_PAUSES: Final = (0.2, 0.5, 1, 2, 5, *([10] * 30))
"""Seconds between tries to write the result: a database is restarted in less than five minutes, or not soon."""
_LONGEST_PAUSE_S: Final = 600


class _NotOurFaultError(SandboxError):
    """The run is not what was asked for, and the reason lies with this machine; to be tried again."""


class _CancelledError(SandboxError):
    """Nobody wants the run any more."""


class _AnsweredError(SandboxError):
    """The same artefact was run before."""

    def __init__(self, earlier: Submission) -> None:
        super().__init__(f"the same artefact was run before, for submission {earlier.id}")
        self.earlier = earlier


class _Made(NamedTuple):
    """What a run left: explained, and stored."""

    report: Report
    seal: Seal


def perform(work: Work, row: Submission, attempt: Attempt) -> None:
    """Make a claimed attempt, and end it: with a result, or given up for another.

    Args:
        work: What the slot has at hand.
        row: The submission, as it was claimed.
        attempt: Whose attempt this is.
    """
    progress = RowProgress()
    with (
        structlog.contextvars.bound_contextvars(submission=row.id, attempt=attempt.number, lane=row.lane),
        Heartbeat(work.engine, attempt, work.configuration.queue, progress) as heartbeat,
    ):
        _log.info("attempt begins", package=row.package, profile=row.profile)
        made: _Made | None = None
        try:
            made = _run(work, row, progress, heartbeat)
            result = _result(row, made.report)
        except _AnsweredError as answered:
            earlier = answered.earlier
            result = Result(
                state="done", reason=str(answered), run=earlier.run, sha256=earlier.sha256, verdict=earlier.verdict
            )
        except _CancelledError as error:
            result = Result(state="cancelled", reason=str(error))
        except UnavailableError as error:
            _give_up(work, attempt, str(error))
            return
        except IntakeError as error:
            result = Result(state="failed", reason=str(error))
        except Exception as error:  # noqa: BLE001 - the job boundary: whatever went wrong, the submission is not lost
            _give_up(work, attempt, _reason(error), error)
            return
        # Nothing is at work any more.
        progress.step("")
        result = msgspec.structs.replace(result, progress=progress.told())
        _commit(work, attempt, made, result)


def _run(work: Work, row: Submission, progress: RowProgress, heartbeat: Heartbeat) -> _Made:
    profile = work.profiles.get(row.profile)
    if profile is None:
        raise _NotOurFaultError(f"this worker has no profile {row.profile!r}; name it in its configuration")
    job = Job(
        package=str(_upload(work, row)) if row.upload else row.package,
        artefact=row.artefact,
        profile=profile,
        pod=Wanted(pod=row.pod, runtime=row.runtime),
    )
    asked = Asked(
        to_stop=heartbeat.asks_to_stop,
        about=lambda artefact: _look_again(work, row, profile, artefact),
        orphans_removed=lambda removed: _count_orphans(work, removed),
    )
    with _scratch(work) as settings:
        bundle = Bundle.open(run(job, settings, progress, lambda: None, asked))
        _check_whole(bundle, heartbeat)
        progress.step("storing the evidence")
        seal = work.evidence.put(bundle.path)
        progress.step("analysing the evidence")
        return _Made(report=analyse(bundle, work.rules), seal=seal)


def _upload(work: Work, row: Submission) -> Path:
    """The file that was uploaded, fetched to this host if it came to another."""
    path = work.configuration.uploads / row.upload / row.package
    if not path.exists():
        work.evidence.fetch_upload(row.upload, path)
    return path


@contextmanager
def _scratch(work: Work) -> Iterator[Settings]:
    """A directory for one run, which others clear away if this process does not."""
    directory = PartialDirectory(runs_directory(work.configuration), secrets.token_hex(4))
    try:
        yield Settings(cache=work.cache, bundles=directory.path)
    finally:
        directory.remove()


def _check_whole(bundle: Bundle, heartbeat: Heartbeat) -> None:
    """Refuse what a run left that was ended for reasons of ours.

    Raises:
        _CancelledError: Somebody asked for its end.
        _NotOurFaultError: The machine could not go on.
    """
    if heartbeat.cancelled and bundle.manifest.interrupted:
        raise _CancelledError("cancelled while it ran")
    if heartbeat.lost:
        raise _NotOurFaultError("its lease ran out while it ran")
    if any(hit.name == outcome.EVIDENCE_DISK for phase in bundle.manifest.phases for hit in phase.limits):
        raise _NotOurFaultError("the disk for evidence was full, so that the run ended early; free some space")


def _look_again(work: Work, row: Submission, profile: Profile, artefact: Artefact) -> None:
    """See whether what now has a digest was run before, under another name.

    Raises:
        _AnsweredError: It was.
        _NotOurFaultError: It is not what was uploaded.
    """
    if row.upload and artefact.sha256 != row.upload:
        raise _NotOurFaultError(f"the file of the upload {row.upload} has other content now; submit it again")
    # Only to save work: when the database does not answer now, it is done.
    with suppress(DBAPIError):
        earlier = query.same_artefact(work.engine, row, artefact.sha256, profile.sha256, work.rules.digest)
        if earlier is not None:
            raise _AnsweredError(earlier)


def _count_orphans(work: Work, removed: int) -> None:
    # A database that is away costs the count, not the run.
    with suppress(DBAPIError):
        orphans.count(work.engine, removed)


def _result(row: Submission, report: Report) -> Result:
    made = report.manifest
    told = [
        f"with {what} that changed since it was submitted"
        for what, asked, used in (
            (f"the profile {row.profile}", row.profile_sha256, made.profile_sha256),
            ("rules", row.rules_sha256, made.rules_sha256),
        )
        if asked != used
    ]
    return Result(
        state="done",
        reason=f"run {' and '.join(told)}" if told else "",
        run=made.run,
        sha256=report.package.sha256,
        verdict=report.verdict,
    )


def _commit(work: Work, attempt: Attempt, made: _Made | None, result: Result) -> None:
    """Write the run's rows and the result together; a database that is away, busy or full is waited for."""
    for pause in (*_COMMIT_PAUSES, None):
        try:
            counts = _try_to_commit(work, attempt, made, result)
        except DBAPIError as error:
            if pause is None or not passes(error):
                _give_up(work, attempt, f"the database does not take the result: {told(error)}", error)
                return
            _log.warning("the database does not answer; the result waits", error=told(error))
            time.sleep(pause)
        else:
            _log.info("attempt ends", state=result.state, verdict=result.verdict, run=result.run, counts=counts)
            return


def _try_to_commit(work: Work, attempt: Attempt, made: _Made | None, result: Result) -> bool:
    now = time.time()
    with writing(work.engine) as connection:
        if made is not None:
            record(connection, rows(made.report), made.seal)
        tally = Tally()
        counts = attempts.finish(connection, attempt, result, now, tally)
        if counts and made is not None:
            measure(tally, made.report)
        tally.write(connection)
        return counts


def _give_up(work: Work, attempt: Attempt, reason: str, error: Exception | None = None) -> None:
    pause = min(work.configuration.queue.retry_seconds * 2 ** (attempt.number - 1), _LONGEST_PAUSE_S)
    _log.warning("attempt fails", reason=reason, exc_info=error if not isinstance(error, SandboxError) else None)
    try:
        attempts.lose(work.engine, attempt, reason, time.time(), pause)
    except DBAPIError as absent:
        _log.warning("the database does not answer; the lease runs out instead", error=str(absent.orig))


def _reason(error: Exception) -> str:
    if isinstance(error, SandboxError):
        return str(error)
    said = f": {error}" if isinstance(error, OSError) else ""
    return f"of an internal error ({type(error).__name__}{said}); the worker's log has more"
