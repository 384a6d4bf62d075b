"""Runs as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import AwareDatetime, BaseModel, Field

from collector.store import runs
from collector.store.evidence import EvidenceRow
from collector.store.labels import Label as StoredLabel
from sandbox.api.models import Input, Sha256, Verdict, instant

RunId: TypeAlias = Annotated[str, Field(pattern="^[0-9a-z]{8,32}$", examples=["0123456789abcdef"])]
LabelName: TypeAlias = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]{0,63}$", examples=["known-good"])]
_Text: TypeAlias = Annotated[str, Field(max_length=1024, pattern="^[^\\x00]*$")]


class Label(BaseModel):
    """What somebody said of a run."""

    label: str
    note: str
    author: str
    created: datetime = Field(description="When it was given, or its note changed last")

    @classmethod
    def of(cls, row: StoredLabel) -> Label:
        """From the row."""
        return cls(label=row.label, note=row.note, author=row.author, created=instant(row.created))


class Run(BaseModel):
    """A run, in short."""

    run: RunId
    created: datetime
    purl: str
    name: str
    version: str
    filename: str
    sha256: Sha256
    kind: str
    profile: str
    profile_sha256: str
    rules_sha256: str
    fumehood: str = Field(description="Version that ran it")
    verdict: Verdict
    classification: str
    reasons: list[str]
    events: dict[str, int] = Field(description="Number of events by kind")
    seconds: float = Field(description="Of all phases together")
    interrupted: bool
    labels: list[Label]

    @classmethod
    def of(cls, row: runs.Run) -> Run:
        """From the row."""
        kept = {name: getattr(row, name) for name in cls.model_fields if name not in {"created", "reasons", "labels"}}
        return cls(
            **kept,
            created=instant(row.created),
            reasons=list(row.reasons),
            labels=[Label.of(label) for label in row.labels],
        )


class Finding(BaseModel):
    """A rule that fired; the report has the evidence."""

    rule: str
    name: str
    title: str
    level: str
    weight: str
    suppressed: bool
    phase: str
    actor: str
    count: int
    attack: list[str]
    seen_in_runs: int = Field(description="Runs that ever showed it, this one included")
    seen_in_known_good: int = Field(description="Those of them that are labelled `known-good`")
    known_good: int = Field(description="How many runs are labelled so")

    @classmethod
    def of(cls, row: runs.FindingRow) -> Finding:
        """From the row."""
        seen = row.prevalence
        kept = ("rule", "name", "title", "level", "weight", "suppressed", "phase", "actor", "count")
        return cls(
            **{name: getattr(row, name) for name in kept},
            attack=list(row.attack),
            seen_in_runs=seen.runs,
            seen_in_known_good=seen.known_good,
            known_good=seen.of_known_good,
        )


class Indicator(BaseModel):
    """Something to look for elsewhere, as it was."""

    kind: str
    value: str


class Evidence(BaseModel):
    """A run's bundle."""

    manifest_sha256: str
    size: int = Field(description="Bytes")
    removed: datetime | None
    reason: str

    @classmethod
    def of(cls, row: EvidenceRow) -> Evidence:
        """From the row."""
        removed = None if row.removed is None else instant(row.removed)
        return cls(manifest_sha256=row.manifest_sha256, size=row.size, removed=removed, reason=row.reason)


class RunDetail(Run):
    """All that is kept of a run."""

    findings: list[Finding]
    indicators: list[Indicator]
    evidence: Evidence | None

    @classmethod
    def detailed(cls, row: runs.RunDetail) -> RunDetail:
        """From the rows."""
        return cls(
            **Run.of(row.run).model_dump(),
            findings=[Finding.of(it) for it in row.findings],
            indicators=[Indicator(kind=it.kind, value=it.value) for it in row.indicators],
            evidence=Evidence.of(row.evidence) if row.evidence else None,
        )


class RunPage(BaseModel):
    """Runs, the newest first."""

    items: list[Run]
    next: str | None = Field(description="The `cursor` of the next page; null at the end")


class RunQuery(Input):
    """Which runs to list; all that is given must hold."""

    package: _Text = Field(default="", description="A name, `NAME*` for all that begin so, or a purl")
    version: _Text = Field(default="", description="With `package`")
    sha256: Sha256 | None = Field(default=None, description="Of the artefact, or of a file that it left")
    indicator: _Text = Field(
        default="", description="A domain with all below it, an address, a URL or a SHA-256; may be defanged"
    )
    rule: _Text = Field(default="", description="Name or Sigma id of a rule that fired")
    technique: _Text = Field(default="", description="ATT&CK technique; one with parts finds its parts too")
    label: LabelName | None = None
    profile: _Text = ""
    verdict: list[Verdict] = Field(default=[], max_length=4, description="Any of these")
    since: AwareDatetime | None = Field(default=None, description="Begun then or later")
    until: AwareDatetime | None = Field(default=None, description="Begun before")
    cursor: str = Field(default="", max_length=200, description="The `next` of the page before")
    limit: int = Field(default=50, ge=1, le=500)


class Note(Input):
    """Why a label is given."""

    note: str = Field(default="", max_length=2000)
