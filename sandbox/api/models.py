"""What goes in and out as JSON. Instants are RFC 3339 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from collector.manifest import PhaseStatus
from sandbox.api.cursors import MAX_CURSOR
from sandbox.api.problems import ProblemDocument
from sandbox.submissions import identifiers, model, search
from sandbox.submissions.model import Lane, State

ArtefactChoice: TypeAlias = Literal["auto", "wheel", "sdist"]
PodChoice: TypeAlias = Literal["auto", "bubblewrap", "docker"]
_NO_NUL: Final = "^[^\\x00]*$"
"""A database may not take it."""
Verdict: TypeAlias = Literal["malicious", "suspicious", "inconclusive", "clean"]
Identifier: TypeAlias = Annotated[
    str, Field(pattern=f"^{identifiers.IDENTIFIER.pattern}$", examples=["01kb5wq3zt8f6n2v4m9c7x1y0e"])
]
Sha256: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Input(BaseModel):
    """Base of what is sent: a key that nobody knows is a mistake."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Options(Input):
    """How to run, whatever it is."""

    lane: Lane = Field(default="manual", description="Escalations go first, then what people ask for, then sweeps")
    profile: str | None = Field(
        default=None, max_length=64, description="Name of a profile that the server offers; its default when left out"
    )
    artefact: ArtefactChoice = Field(default="auto", description="Which file of a release to run")
    pod: PodChoice | None = Field(default=None, description="What seals it in; the server's choice when left out")
    runtime: str | None = Field(
        default=None, max_length=64, pattern="^[A-Za-z0-9._-]*$", description="Docker's runtime, for the pod `docker`"
    )
    webhook: str | None = Field(
        default=None,
        max_length=2048,
        description="URL that is told the end; must lie below one that the configuration's `webhooks` names",
    )
    force: bool = Field(default=False, description="Run again even if the same was run before")


class SubmissionRequest(Options):
    """A package to run."""

    purl: str = Field(min_length=1, max_length=512, examples=["pkg:pypi/six@1.16.0"])


class PhaseProgress(BaseModel):
    """How far a phase of the running attempt is."""

    name: str
    budget: float = Field(description="Seconds that it may take")
    started: datetime
    status: PhaseStatus | None = Field(description="null while it goes on")
    seconds: float = Field(description="That it took; 0 while it goes on")


class Progress(BaseModel):
    """How far the running attempt is, or how far the latest came."""

    step: str = Field(description="What is being done, or the phase that goes on; empty when nothing is")
    note: str = Field(description="What the phase is at. May hold a package's words: escape it")
    phases: list[PhaseProgress]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Progress:
        """From what the row has: as `sandbox.queue.progress` writes it, or nothing."""
        phases = [
            PhaseProgress(
                name=phase["name"],
                budget=phase["budget"],
                started=instant(phase["started"]),
                status=phase["status"] or None,
                seconds=phase["seconds"],
            )
            for phase in told.get("phases", ())
        ]
        return cls(step=told.get("step", ""), note=told.get("note", ""), phases=phases)


class Submission(BaseModel):
    """What became of a request."""

    id: Identifier
    state: State
    lane: Lane
    package: str = Field(description="purl; for an upload its file's name")
    upload: str | None = Field(description="sha256 of the uploaded file")
    artefact: ArtefactChoice
    profile: str
    pod: str
    runtime: str
    submitter: str
    origin: str | None = Field(description="The submission of which this is a rerun")
    created: datetime
    changed: datetime
    ended: datetime | None
    attempt: int = Field(description="Number of the latest attempt; 0 before the first")
    budget: int = Field(description="How many attempts there may be")
    progress: Progress
    reason: str = Field(description="Why it ended as it did, or why it was given back")
    sha256: str | None = Field(description="Of the artefact that ran")
    run: str | None = Field(description="The run that counts")
    verdict: str | None

    @classmethod
    def of(cls, row: model.Submission) -> Submission:
        """From the row."""
        return cls(
            id=row.id,
            state=row.state,
            lane=row.lane,
            package=row.package,
            upload=row.upload or None,
            artefact=row.artefact,
            profile=row.profile,
            pod=row.pod,
            runtime=row.runtime,
            submitter=row.submitter,
            origin=row.origin,
            created=instant(row.created),
            changed=instant(row.changed),
            ended=None if row.ended is None else instant(row.ended),
            attempt=row.attempt,
            budget=row.budget,
            progress=Progress.of(row.progress),
            reason=row.reason,
            sha256=row.sha256 or None,
            run=row.run,
            verdict=row.verdict or None,
        )


class Submitted(Submission):
    """The submission that answers a request."""

    new: bool = Field(description="False when an earlier submission answers for the same work")
    lifted: bool = Field(description="The earlier one was moved to the more urgent lane of this request")

    @classmethod
    def answering(cls, made: model.Submitted) -> Submitted:
        """From the answer of `sandbox.submissions`."""
        return cls(**Submission.of(made.submission).model_dump(), new=made.created, lifted=made.lifted)


class Batch(Input):
    """Several packages at once."""

    submissions: list[SubmissionRequest] = Field(min_length=1, max_length=500)


class BatchItem(BaseModel):
    """What became of one of a batch: a submission or a problem."""

    submission: Submitted | None = None
    problem: ProblemDocument | None = None


class BatchAnswer(BaseModel):
    """What became of each, in the order of the request."""

    items: list[BatchItem]


class Rerun(Input):
    """What is to be different; what is left out stays as it was, but for the rules, which are today's."""

    profile: str | None = Field(default=None, max_length=64)
    artefact: ArtefactChoice | None = None
    pod: PodChoice | None = None
    runtime: str | None = Field(default=None, max_length=64, pattern="^[A-Za-z0-9._-]*$")
    lane: Lane = "manual"
    webhook: str | None = Field(default=None, max_length=2048)
    force: bool = Field(default=True, description="Run even if the same was run before")


class Reason(Input):
    """Why something is done; kept with it."""

    reason: str = Field(default="", max_length=500, pattern="^[^\\x00-\\x1f\\x7f]*$")


class Retry(Input):
    """How to try again."""

    attempts: int | None = Field(default=None, ge=1, le=100, description="The server's `queue.attempts` when left out")


class SubmissionPage(BaseModel):
    """Submissions, the newest first."""

    items: list[Submission]
    next: str | None = Field(description="The `cursor` of the next page; null at the end")


class Attempt(BaseModel):
    """One attempt at a submission."""

    attempt: int
    owner: str = Field(description="The worker")
    started: datetime
    ended: datetime | None
    outcome: str
    reason: str
    run: str | None

    @classmethod
    def of(cls, row: search.AttemptRow) -> Attempt:
        """From the row."""
        return cls(
            attempt=row.attempt,
            owner=row.owner,
            started=instant(row.started),
            ended=None if row.ended is None else instant(row.ended),
            outcome=row.outcome,
            reason=row.reason,
            run=row.run,
        )


class SubmissionQuery(Input):
    """Which submissions to list."""

    state: State | None = None
    lane: Lane | None = None
    verdict: Verdict | None = None
    package: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=_NO_NUL,
        description="purl; without a version all of its versions",
    )
    sha256: Sha256 | None = Field(default=None, description="Of the artefact that ran, or of the upload")
    submitter: str | None = Field(default=None, max_length=128, pattern=_NO_NUL)
    origin: Identifier | None = Field(default=None, description="Reruns of this submission")
    since: AwareDatetime | None = Field(default=None, description="Submitted then or later")
    until: AwareDatetime | None = Field(default=None, description="Submitted before")
    cursor: str | None = Field(default=None, max_length=MAX_CURSOR, description="The `next` of the page before")
    limit: int = Field(default=50, ge=1, le=500)


class Health(BaseModel):
    """Whether the process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests would be served."""

    ready: bool
    checks: dict[str, str] = Field(description="`ok`, or what is wrong, for each part")


def instant(epoch: float) -> datetime:
    """An instant of the database."""
    return datetime.fromtimestamp(epoch, UTC)
