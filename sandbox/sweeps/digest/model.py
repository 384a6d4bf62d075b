"""A digest as data, which is also its JSON form.

Strings from packages and indexes stand in it as they are: whoever shows one escapes it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Problem: TypeAlias = Literal["inconclusive", "dead", "failed", "cancelled"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all parts of a digest."""


class SweepPart(Part, frozen=True, kw_only=True):
    """One run of a sweep."""

    sweep: str
    run: str
    state: str
    """`complete`, `budget` (something is left for the next), `interrupted`, `failed` or `running`."""
    reason: str
    started: float
    ended: float | None
    counts: dict[str, int]
    """Packages by what became of them: submitted, existing, skipped, gone, unreadable, pending."""
    passed_over: dict[str, int]
    """Packages by why they were not run."""
    bad: int
    """Entries of the feed that could not be read."""
    notes: tuple[str, ...]
    """What the feed could not see."""


class FindingPart(Part, frozen=True, kw_only=True):
    """Something that a package did."""

    name: str
    title: str
    level: str
    attack: tuple[str, ...]
    """ATT&CK techniques."""


class PackagePart(Part, frozen=True, kw_only=True):
    """A package that ran."""

    purl: str
    artefact: str
    """`wheel` or `sdist`; what was asked for, perhaps `auto`, when there is no run."""
    sweep: str
    why: str
    """What the feed said."""
    submission: str
    run: str | None


class BadPart(PackagePart, frozen=True, kw_only=True):
    """A package that is malicious or suspicious."""

    verdict: Literal["malicious", "suspicious"]
    classification: str
    reasons: tuple[str, ...]
    findings: tuple[FindingPart, ...]
    """Those that count, the gravest first."""
    before: str
    """Verdict of the latest run of the project before; empty when there was none."""


class ChangePart(PackagePart, frozen=True, kw_only=True):
    """A package that does other things than its previous release did."""

    verdict: str
    previous: str
    """The previous release that ran, a purl."""
    previous_run: str
    previous_verdict: str
    gained: tuple[FindingPart, ...]
    lost: tuple[FindingPart, ...]
    contacts: tuple[str, ...]
    """Domains and addresses that the previous release did not want, made harmless (`[.]`)."""
    other_rules: bool
    """The two were judged by different rules, which may be the whole difference."""


class ProblemPart(PackagePart, frozen=True, kw_only=True):
    """A package of which it is not known what it does."""

    problem: Problem
    reasons: tuple[str, ...]


class Digest(Part, frozen=True, kw_only=True):
    """What sweeps did in a span of time. A package belongs to the span in which its submission ended."""

    since: float
    until: float
    """UTC seconds since the epoch; not part of the span."""
    sweeps: tuple[SweepPart, ...]
    ended: dict[str, int]
    """Submissions of sweeps that ended in the span, by state."""
    verdicts: dict[str, int]
    """Runs among them, by verdict."""
    waiting: int
    """Submissions of sweeps that wait or run at the end of the span: in the next digest."""
    bad: tuple[BadPart, ...]
    """Malicious before suspicious, and what is new before what was known."""
    compared: int
    """Runs for which there is a run of the previous release: only of these it is known whether they changed."""
    changed: tuple[ChangePart, ...]
    unknown: tuple[ProblemPart, ...]
    left_out: dict[Literal["bad", "changed", "unknown"], int]
    """How many more there are than are listed."""
