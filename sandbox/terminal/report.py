"""Renders a report for a person: the verdict first, then what it rests on, short when there is little to say."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from collector.limits import words
from collector.redact import excerpt
from sandbox.terminal.dropped import render_dropped
from sandbox.terminal.hints import render_hints
from sandbox.terminal.network import render_network
from sandbox.terminal.page import Page
from sandbox.terminal.processes import render_processes
from sandbox.terminal.resources import render_resources

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from collector.report import FindingReport, PhaseReport, Report

_VERDICT: Final = {
    "malicious": "bold white on red",
    "suspicious": "bold black on yellow",
    "inconclusive": "bold white on magenta",
    "clean": "bold black on green",
}
_LEVEL: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "informational": "dim"}
_OUTCOMES: Final = {
    "refused": "not applied, as a planted secret left; remove it",
    "expired": "not applied, as its time is over; renew it or remove it",
    "unused": "nothing matched it; remove it",
    "unknown-rule": "there is no such rule; correct it or remove it",
}
_EVIDENCE: Final = 5
"""Events shown below a finding; the JSON report has more."""
_EVENT: Final = 800
"""Characters of an event shown."""


def render_report(report: Report, console: Console, *, bundle: Path | None = None) -> None:
    """Write `report` to `console`.

    Args:
        report: What the collector made of a run. Its strings may come from the package and are made harmless.
        console: Colours and folding are used when it is a terminal; otherwise lines are plain and whole.
        bundle: Where the evidence is, when it is kept.
    """
    page = Page(console)
    _verdict(page, report)
    if report.findings:
        page.heading("Findings")
        for number, finding in enumerate(report.findings):
            if number:
                page.blank()
            _finding(page, finding)
    render_network(page, report.network)
    render_dropped(page, report.dropped, home=report.manifest.home)
    render_processes(page, report.processes, home=report.manifest.home, short=report.verdict == "clean")
    render_hints(page, report.hints)
    page.heading("Phases")
    page.rows([_phase(page, phase) for phase in report.phases])
    render_resources(page, report.phases)
    if (usual := report.baseline) is not None:
        page.line(page.text(f"{usual.events:,} of {usual.of:,} events as in an empty package"), 1)
    _notes(page, report)
    if bundle is not None:
        page.heading("Evidence")
        path = str(bundle.resolve())
        page.whole(page.text(path), 1)
        page.whole(page.text(("every event: ", "dim"), f"fumehood events {shlex.quote(path)}"), 1)


def _verdict(page: Page, report: Report) -> None:
    package = report.package
    page.line(page.text((report.package.purl, "bold"), f"  {package.kind} {package.filename}"))
    sealed = report.manifest.isolation
    pod = f"{sealed.pod} with {sealed.runtime}" if sealed.runtime else sealed.pod
    page.line(page.text((f"sha256 {package.sha256}  profile {report.profile.name}  pod {pod}", "dim")))
    for note in report.manifest.notes:
        page.line(page.text(("note: ", "bold"), note))
    if (sigma := report.manifest.sigma).loaded or sigma.skipped:
        page.line(page.text(("note: ", "bold"), f"rules by others: {sigma.loaded} loaded, {sigma.skipped} skipped"))
    page.blank()
    sort = f"  {report.classification}" if report.classification else ""
    page.line(page.text((f" {report.verdict.upper()} ", _VERDICT[report.verdict]), sort))
    page.rows([[page.text("-"), page.text(reason)] for reason in report.reasons], gap=1)


def _finding(page: Page, finding: FindingReport) -> None:
    page.line(page.text((f"{finding.level}", _LEVEL[finding.level]), "  ", (finding.title, "bold")), 1)
    trial = "  on trial" if finding.nursery else ""
    events = "1 event" if finding.count == 1 else f"{finding.count:,} events"
    page.line(page.text((f"{finding.phase} by {finding.actor}  {events}  rule {finding.name}{trial}", "dim")), 2)
    for technique in finding.techniques:
        page.line(page.text((f"{technique.id} {technique.name}".rstrip(), "dim")), 2)
    if (by := finding.suppression) is not None:
        page.line(page.text(("suppressed: ", "bold cyan"), f"{by.reason} ({by.author}, until {by.expires})"), 2)
    if finding.why:
        page.line(page.text(finding.why), 2)
    if finding.normal:
        page.line(page.text(("normal: ", "bold"), finding.normal), 2)
    if finding.falsepositives and finding.weight != "context":
        page.line(page.text(("can look like it: ", "bold"), " ".join(finding.falsepositives)), 2)
    for evidence in finding.evidence[:_EVIDENCE]:
        source = f"  # {evidence.source.file}:{evidence.source.line}" if evidence.source else ""
        page.line(page.text(excerpt(evidence.event, _EVENT), (source, "dim")), 2)
    left = finding.omitted + len(finding.evidence[_EVIDENCE:])
    if left:
        page.line(page.text((f"and {left:,} more", "dim")), 2)


def _phase(page: Page, phase: PhaseReport) -> list[Text]:
    style = {"completed": "green", "not-run": "dim"}.get(phase.status, "bold yellow")
    return [
        page.text(phase.name),
        page.text((phase.status, style)),
        page.text(f"{phase.seconds:.1f} s"),
        page.text(f"{phase.trace.lines:,} trace lines" if phase.trace.file else ""),
        page.text("; ".join(_remarks(phase))),
    ]


def _remarks(phase: PhaseReport) -> list[str]:
    remarks = [phase.reason] if phase.reason else []
    if phase.exit_code and phase.reason != f"exit code {phase.exit_code}":
        remarks.append(f"exit code {phase.exit_code}")
    if coverage := phase.coverage:
        reached = f"{coverage.reached} of {coverage.planned} {coverage.unit}s reached"
        remarks.append(reached if coverage.planned else f"no {coverage.unit}s")
        remarks += [f"{len(names)} {word}" for names, word in ((coverage.failed, "failed"),) if names]
    if not phase.trace.complete:
        remarks.append("trace incomplete")
    if phase.trace.unparsed:
        remarks.append(f"{phase.trace.unparsed:,} lines not understood")
    if phase.trace.truncated:
        remarks.append(f"{phase.trace.truncated:,} calls cut")
    if phase.survivors:
        remarks.append(f"{phase.survivors} processes left running")
    # The limit for which a phase was ended is its reason.
    remarks += [f"limit met: {words(hit)}" for hit in phase.limits if not hit.ended]
    if phase.output_truncated and not any(hit.name == "output" for hit in phase.limits):
        remarks.append("output cut")
    return remarks


def _notes(page: Page, report: Report) -> None:
    for one in report.suppressions:
        if (told := _OUTCOMES.get(one.outcome)) is not None:
            page.line(page.text(("suppression ", "bold"), f"{one.package} {one.versions} {one.rule}: {told}"), 1)
    if report.manifest.interrupted:
        page.line(page.text(("the run was interrupted", "bold yellow")), 1)
    if report.network.unparsed:
        page.line(page.text(f"{report.network.unparsed:,} lines of the network record not understood"), 1)
    for limit in report.network.limits:
        page.line(page.text(f"network record incomplete: {limit}"), 1)
