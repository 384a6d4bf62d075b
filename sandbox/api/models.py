"""What goes in and out as JSON. Instants are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from sandbox.submissions import identifiers, model
from sandbox.submissions.model import Lane, State

ArtefactChoice: TypeAlias = Literal["auto", "wheel", "sdist"]
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
    webhook: str | None = Field(
        default=None,
        max_length=2048,
        description="URL that is told the end; must lie below one that the configuration's `webhooks` names",
    )
    force: bool = Field(default=False, description="Run again even if the same was run before")


class SubmissionRequest(Options):
    """A package to run."""

    purl: str = Field(min_length=1, max_length=512, examples=["pkg:pypi/six@1.16.0"])


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
    progress: dict[str, Any] = Field(description="Steps and phases of the running attempt")
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
            progress=row.progress,
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
