"""Sample reports made from events in text form, for tests of what is done with reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from collector.compose import compose
from collector.events import AnyEvent, Source
from collector.findings import Finding
from collector.processes import ProcessTable
from collector.text import parse
from collector.timeline import Timeline, TraceCounts
from collector.verdict import decide
from tests.collector.bundles import BAITS, make_manifest, trace_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.manifest import Bait, Manifest
    from collector.report import Report
    from collector.sigma.rule import Level

RULES = "c" * 64


def make_events(*lines: str) -> tuple[AnyEvent, ...]:
    """Events one millisecond apart, each from the line of its number in its phase's trace."""
    return tuple(
        msgspec.structs.replace(event, ts=number / 1000, source=Source(trace_name(event.phase), number))
        for number, event in enumerate(map(parse, lines), 1)
    )


def make_timeline(
    manifest: Manifest,
    *lines: str,
    traces: dict[str, TraceCounts] | None = None,
    unparsed: int = 0,
    limits: tuple[str, ...] = (),
) -> Timeline:
    """A timeline in which every trace was understood; `traces` replaces the counts of single phases."""
    counts = {phase.name: TraceCounts(lines=100, unparsed=0, truncated=0) for phase in manifest.phases if phase.trace}
    return Timeline(
        events=make_events(*lines),
        processes=ProcessTable(),
        traces=counts | (traces or {}),
        gateway_unparsed=unparsed,
        gateway_limits=limits,
    )


def make_finding(  # noqa: PLR0913 - each part of a finding has its own keyword
    level: Level,
    title: str = "Something was done",
    *,
    phase: str = "install",
    actor: str = "target",
    nursery: bool = False,
    evidence: tuple[AnyEvent, ...] = (),
    why: str = "",
    **more: Any,
) -> Finding:
    return Finding(
        rule="00000000-0000-4000-8000-000000000001",
        name=title.lower().replace(" ", "-"),
        title=title,
        level=level,
        attack=("T1041",),
        phase=phase,
        actor=actor,
        nursery=nursery,
        evidence=evidence,
        count=max(len(evidence), 1),
        why=why,
        **more,
    )


def make_report(
    *lines: str,
    findings: Sequence[Finding] = (),
    manifest: Manifest | None = None,
    bait: Sequence[Bait] = BAITS,
) -> Report:
    """The report of a run in which the events of `lines` happened."""
    manifest = manifest or make_manifest()
    timeline = make_timeline(manifest, *lines)
    verdict = decide(findings, manifest, timeline)
    return compose(
        manifest=manifest, bait=bait, timeline=timeline, findings=findings, verdict=verdict, rules_digest=RULES
    )
