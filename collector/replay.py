"""What other rules would have said of a stored run: the same evidence, judged twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from collector.analyse import judge
from collector.sigma.rule import Level
from collector.suppressions import NONE
from collector.timeline import build
from collector.verdict import Classification, VerdictName, Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.bundle import Bundle
    from collector.report import FindingReport, Report
    from collector.sigma.rule import RuleSet
    from collector.suppressions import Suppressions


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as a comparison names it."""

    name: str
    """Name of the rule."""
    title: str
    level: Level
    weight: Weight
    phase: str
    actor: str
    count: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that both have, counted or weighed differently."""

    before: Found
    after: Found


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one set of rules says of a run."""

    verdict: VerdictName
    classification: Classification


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One run under two sets of rules."""

    bundle: str
    """Path of the bundle, as it was given."""
    purl: str
    kind: Literal["sdist", "wheel"]
    before: Judged
    after: Judged
    added: tuple[Found, ...]
    removed: tuple[Found, ...]
    changed: tuple[Change, ...]

    @property
    def differs(self) -> bool:
        """Whether the rules say anything else."""
        return self.before != self.after or bool(self.added or self.removed or self.changed)


def replay(bundle: Bundle, before: RuleSet, after: RuleSet, suppressions: Suppressions = NONE) -> Comparison:
    """Judge a stored run by two sets of rules; its evidence is read once.

    Args:
        bundle: The evidence.
        before: Rules to compare with.
        after: Rules that are tried.
        suppressions: Findings that do not count, under either.

    Returns:
        What is different.

    Raises:
        BundleError: A file of the bundle cannot be read as what it should be.
    """
    told = build(bundle)
    return compare(
        str(bundle.path), judge(bundle, told, before, suppressions), judge(bundle, told, after, suppressions)
    )


def compare(bundle: str, before: Report, after: Report) -> Comparison:
    """Compare two reports on the same run.

    Args:
        bundle: Path of its bundle.
        before: The first report.
        after: The second.

    Returns:
        Findings that only one has, and those that both have differently, by rule id, phase and actor.
    """
    old, new = _by_key(before.findings), _by_key(after.findings)
    both = [(old[key], new[key]) for key in old if key in new]
    return Comparison(
        bundle=bundle,
        purl=after.package.purl,
        kind=after.package.kind,
        before=Judged(verdict=before.verdict, classification=before.classification),
        after=Judged(verdict=after.verdict, classification=after.classification),
        added=tuple(found for key, found in new.items() if key not in old),
        removed=tuple(found for key, found in old.items() if key not in new),
        changed=tuple(Change(before=first, after=second) for first, second in both if first != second),
    )


def _by_key(findings: Iterable[FindingReport]) -> dict[tuple[str, str, str], Found]:
    return {
        (finding.rule, finding.phase, finding.actor): Found(
            name=finding.name,
            title=finding.title,
            level=finding.level,
            weight=finding.weight,
            phase=finding.phase,
            actor=finding.actor,
            count=finding.count,
        )
        for finding in findings
    }
