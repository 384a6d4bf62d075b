"""A submission as data."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

Lane: TypeAlias = Literal["escalation", "manual", "sweep"]
LANES: Final[tuple[Lane, ...]] = get_args(Lane)
"""The most urgent first."""
State: TypeAlias = Literal["queued", "running", "done", "failed", "dead", "cancelled"]
FINAL: Final[frozenset[State]] = frozenset({"done", "failed", "dead", "cancelled"})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for."""

    package: str
    """A purl, normalised; the file's name for an upload."""
    profile: str
    """Name of a profile."""
    profile_sha256: str
    rules_sha256: str
    lane: Lane = "manual"
    upload: str = ""
    """SHA-256 of the uploaded artefact; empty for a purl."""
    artefact: Literal["auto", "wheel", "sdist"] = "auto"
    pod: str = "bubblewrap"
    runtime: str = ""
    submitter: str = ""
    idempotency_key: str | None = None
    origin: str | None = None
    webhook: str = ""
    """URL that is told the end, one that the configuration allows; empty for none."""
    budget: int = 3
    """How many attempts there may be."""
    force: bool = False
    """Run again even if the same was run before."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A row of submissions; `sandbox.database.schema` says what each column means."""

    id: str
    lane: Lane
    state: State
    created: float
    changed: float
    package: str
    upload: str
    artefact: Literal["auto", "wheel", "sdist"]
    profile: str
    profile_sha256: str
    rules_sha256: str
    pod: Literal["auto", "bubblewrap", "docker"]
    runtime: str
    identity: str
    standing: str | None
    submitter: str
    origin: str | None
    attempt: int
    budget: int
    owner: str
    lease_until: float
    not_before: float
    cancel: bool
    progress: dict[str, Any]
    ended: float | None
    reason: str
    sha256: str
    run: str | None
    verdict: str


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request."""

    submission: Submission
    created: bool
    """False when an earlier submission answers for it."""
    lifted: bool = False
    """The earlier one was moved to the more urgent lane of this request."""
    ours: bool = False
    """It was made for this request: now, or when the request came with the same idempotency key before."""
