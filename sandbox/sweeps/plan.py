"""The parts of a sweep's plan, with the range of every number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Meta

from sandbox.profile.model import Name

Kind: TypeAlias = Literal["new-projects", "updates", "trending", "file", "osv", "releases"]
Artefact: TypeAlias = Literal["auto", "wheel", "sdist"]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4_096)]
Pattern: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9.*?\[\]!-]{1,214}$")]
Cron: TypeAlias = Annotated[str, Meta(max_length=128)]
Timezone: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]
Days: TypeAlias = Annotated[int, Meta(ge=1, le=3_650)]

KEYS: Final[dict[Kind, tuple[frozenset[str], frozenset[str]]]] = {
    "new-projects": (frozenset(), frozenset({"path"})),
    "updates": (frozenset(), frozenset({"path", "watch"})),
    "trending": (frozenset({"source"}), frozenset({"growth", "least", "top"})),
    "file": (frozenset({"source"}), frozenset()),
    "osv": (frozenset({"source"}), frozenset()),
    "releases": (frozenset({"watch", "since"}), frozenset()),
}
"""By kind of feed: the keys that it must have, and those that it may have."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of the file."""


class FeedPlan(Part, frozen=True, kw_only=True):
    """Where packages come from; which keys a kind has is in `KEYS`."""

    kind: Kind
    path: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._~/-]{1,255}$")] | None = None
    """Of the index's own feed, at the index's host."""
    watch: Text | None = None
    """File of projects' names."""
    source: Text | None = None
    """A file, for `osv` also a directory, for `trending` also an https address."""
    since: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    """UTC date."""
    growth: Annotated[float, Meta(ge=1.0, le=1e6)] | None = None
    least: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    top: Annotated[int, Meta(ge=1, le=50_000)] | None = None


class Filters(Part, frozen=True, kw_only=True):
    """Which of a feed's packages are run."""

    names: tuple[Pattern, ...] = ("*",)
    """A project's normalised name must fit one of these shell patterns."""
    not_names: tuple[Pattern, ...] = ()
    newer_than_days: Days | None = None
    """The release came at most so many days ago."""
    older_than_days: Days | None = None
    largest_mb: Annotated[int, Meta(ge=1, le=16_384)] | None = None
    """The file that would run is no larger, MiB."""
    not_run_days: Days | None = None
    """The same release did not run in so many days, by whatever rules and profile."""
    artefacts: tuple[Artefact, ...] = ("auto",)
    """What is run of a release: each of these that it has is a submission of its own."""


class Budget(Part, frozen=True, kw_only=True):
    """How much one sweep may do; what is left over is first in the next."""

    submissions: Annotated[int, Meta(ge=1, le=1_000_000)] = 500
    """New submissions."""
    minutes: Annotated[int, Meta(ge=1, le=10_080)] = 120
    """Wall clock, waiting for room in the lane included."""
    waiting: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """How many submissions may wait in the lane before the sweep waits too; the lane's own bound by default."""


class SweepPlan(Part, frozen=True, kw_only=True):
    """One sweep, as the file has it."""

    feed: FeedPlan
    filters: Filters = Filters()
    budget: Budget = Budget()
    schedule: Cron | None = None
    """Five fields of cron; without it the sweep runs by hand only."""
    timezone: Timezone = "UTC"
    """Of the schedule."""
    profile: Name = "pypi"
    """One of those that the configuration lets workers offer."""


class DigestPlan(Part, frozen=True, kw_only=True):
    """When a digest is made, and where it goes. It tells of what ended since the one before."""

    schedule: Cron
    timezone: Timezone = "UTC"
    directory: Text | None = None
    """Where its files are put, one in each form."""
    webhook: Text | None = None
    """Who is told it as JSON: an address below one of the configuration's `webhooks`."""


class SweepsFile(Part, frozen=True, kw_only=True):
    """The keys of the file."""

    sweeps: dict[Name, SweepPlan]
    digest: DigestPlan | None = None


class Sweep(SweepPlan, frozen=True, kw_only=True):
    """One sweep, checked."""

    name: str
    directory: Path
    """Relative paths start here: the directory of the file."""


class Digests(DigestPlan, frozen=True, kw_only=True):
    """The digest, checked."""

    place: Path | None
    """Its directory, absolute."""

    @property
    def name(self) -> str:
        """What its row is called; no sweep can be called so."""
        return ":digest"


class Plans(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file, checked."""

    sweeps: dict[str, Sweep]
    digest: Digests | None


class Timed(Protocol):
    """What a schedule is of."""

    @property
    def name(self) -> str:
        """The name under which its latest moment is kept."""

    @property
    def schedule(self) -> str | None:
        """Five fields of cron; `None` for never."""

    @property
    def timezone(self) -> str:
        """Of the schedule."""
