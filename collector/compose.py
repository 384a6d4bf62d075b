"""Puts a report together from the manifest, the timeline, the findings and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector import attack
from collector.attempts import AttemptReader
from collector.baseline import UsualReader
from collector.dropped_report import dropped_report
from collector.hints import HintReader
from collector.readers import show
from collector.redact import Redactor, excerpt
from collector.report import (
    NONE_BY_OTHERS,
    BaitReport,
    CoverageReport,
    Evidence,
    FindingReport,
    PhaseReport,
    Report,
    RunReport,
    SuppressionReport,
    Technique,
    TraceReport,
)
from collector.suppressions import NOTHING
from collector.text import render
from collector.tree import TreeReader
from collector.verdict import weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.baseline import Baseline
    from collector.events import AnyEvent
    from collector.findings import Finding
    from collector.manifest import Bait, Coverage, LimitHit, Manifest, Phase
    from collector.report import SigmaReport
    from collector.suppressions import Outcomes, Told
    from collector.timeline import Timeline
    from collector.verdict import Verdict

_NAMES: Final = 200
"""Longest list of modules or scripts that a report quotes."""


def compose(  # noqa: PLR0913 - a report is made of these parts
    *,
    manifest: Manifest,
    bait: Sequence[Bait],
    timeline: Timeline,
    findings: Sequence[Finding],
    verdict: Verdict,
    rules_digest: str,
    sigma: SigmaReport = NONE_BY_OTHERS,
    suppressed: Outcomes = NOTHING,
    baseline: Baseline | None = None,
) -> Report:
    """Make the report: bounded everywhere, and without the value of any bait."""
    redactor = Redactor.of(bait)
    attempts, processes, hints = AttemptReader(redactor), TreeReader(redactor), HintReader(manifest.home)
    usual = UsualReader(baseline, manifest) if baseline else None
    counts = show(timeline.events, [attempts, processes, hints, *([usual] if usual else ())])
    report = Report(
        verdict=verdict.verdict,
        reasons=tuple(excerpt(reason) for reason in verdict.reasons),
        proof=verdict.proof,
        classification=verdict.classification,
        attack_version=attack.VERSION,
        package=manifest.package,
        profile=manifest.profile,
        phases=tuple(_phase(phase, timeline) for phase in manifest.phases),
        findings=tuple(_finding(finding, redactor) for finding in findings),
        suppressions=tuple(_suppression(told) for told in suppressed.told),
        network=attempts.network(unparsed=timeline.gateway_unparsed, limits=tuple(timeline.gateway_limits)),
        capture=timeline.capture.report if timeline.capture else None,
        processes=processes.tree(),
        dropped=dropped_report(timeline.dropped, redactor) if timeline.dropped else None,
        baseline=usual.report() if usual else None,
        hints=hints.hints(redactor),
        events=counts,
        manifest=_run(manifest, bait, rules_digest, sigma, suppressed.digest),
    )
    # Field by field above, so that no cut goes through a value; and once more for whatever was not thought of.
    return redactor.struct(report)


def _phase(phase: Phase, timeline: Timeline) -> PhaseReport:
    counts = timeline.traces.get(phase.name)
    hits = (*phase.limits, *timeline.gateway_hits.get(phase.name, ()))
    return PhaseReport(
        name=phase.name,
        status=phase.status,
        reason=excerpt(phase.reason),
        exit_code=phase.exit_code,
        seconds=round(max(phase.ended - phase.started, 0.0), 3),
        trace=TraceReport(
            file=phase.trace,
            lines=counts.lines if counts else 0,
            unparsed=counts.unparsed if counts else 0,
            first_unparsed_line=counts.first_unparsed_line if counts else None,
            truncated=counts.truncated if counts else 0,
            complete=phase.trace_complete,
        ),
        survivors=phase.survivors,
        limits=tuple(sorted(map(_hit, hits), key=lambda hit: (hit.name, hit.what))),
        output_truncated=phase.output_truncated,
        resources=timeline.resources.phases.get(phase.name),
        coverage=_coverage(phase.coverage) if phase.coverage else None,
    )


def _hit(hit: LimitHit) -> LimitHit:
    return msgspec.structs.replace(hit, what=excerpt(hit.what))


def _coverage(coverage: Coverage) -> CoverageReport:
    lists = (coverage.failed, coverage.timed_out, coverage.unreached)
    failed, timed_out, unreached = (tuple(excerpt(name) for name in sorted(names)[:_NAMES]) for names in lists)
    return CoverageReport(
        unit=coverage.unit,
        planned=coverage.planned,
        reached=coverage.reached,
        failed=failed,
        timed_out=timed_out,
        unreached=unreached,
        omitted=sum(max(len(names) - _NAMES, 0) for names in lists),
    )


def _finding(finding: Finding, redactor: Redactor) -> FindingReport:
    return FindingReport(
        rule=finding.rule,
        name=finding.name,
        title=finding.title,
        level=finding.level,
        nursery=finding.nursery,
        attack=finding.attack,
        techniques=tuple(Technique(id=technique, name=attack.name_of(technique)) for technique in finding.attack),
        suppression=finding.suppression,
        weight=weigh(finding),
        phase=finding.phase,
        actor=finding.actor,
        count=finding.count,
        why=finding.why,
        normal=finding.normal,
        falsepositives=finding.falsepositives,
        evidence=tuple(_evidence(event, redactor) for event in finding.evidence),
        omitted=max(finding.count - len(finding.evidence), 0),
    )


def _suppression(told: Told) -> SuppressionReport:
    entry = told.suppression
    return SuppressionReport(
        package=entry.package,
        versions=entry.versions,
        rule=entry.rule,
        reason=entry.reason,
        author=entry.author,
        expires=entry.expires,
        outcome=told.outcome,
        findings=told.findings,
    )


def _evidence(event: AnyEvent, redactor: Redactor) -> Evidence:
    return Evidence(event=excerpt(redactor.text(render(event))), source=event.source)


def _run(
    manifest: Manifest, bait: Sequence[Bait], rules_digest: str, sigma: SigmaReport, suppressions_digest: str
) -> RunReport:
    return RunReport(
        run=manifest.run,
        created=manifest.created,
        fumehood=manifest.fumehood,
        tools=dict(sorted(manifest.tools.items())),
        image=manifest.image,
        isolation=manifest.isolation,
        registry_hosts=tuple(sorted(manifest.registry_hosts)),
        profile_sha256=manifest.profile.sha256,
        rules_sha256=rules_digest,
        sigma=sigma,
        suppressions_sha256=suppressions_digest,
        home=manifest.home,
        user=manifest.user,
        bait=tuple(sorted(BaitReport(name=item.name, kind=item.kind, where=item.where) for item in bait)),
        notes=tuple(excerpt(note) for note in manifest.notes),
        interrupted=manifest.interrupted,
    )
