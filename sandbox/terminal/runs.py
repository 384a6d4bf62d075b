"""Shows runs of the store to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from collector.store.terms import defang
from sandbox.terminal.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

    from collector.store.runs import FindingRow, Run, RunDetail

_STYLES: Final = {"malicious": "bold red", "suspicious": "yellow", "inconclusive": "magenta", "clean": "green"}
_SHOWN: Final = 40
"""Indicators of a run; `--format json` has all."""
_MIB: Final = 1 << 20


def render_runs(runs: Sequence[Run], console: Console) -> None:
    """One line a run."""
    page = Page(console)
    page.rows([_row(page, run) for run in runs], indent=0)


def render_run(detail: RunDetail, console: Console) -> None:
    """One run with all that is kept of it. Indicators are shown so that nobody follows them by mistake."""
    page, run = Page(console), detail.run
    page.line(page.text((run.verdict, _STYLES[run.verdict]), f"  {run.purl}  {run.classification}".rstrip()))
    for reason in run.reasons:
        page.line(page.text(reason), indent=1)
    page.heading("run")
    page.rows(
        [
            [page.text(name), page.text(value)]
            for name, value in (
                ("id", run.run),
                ("begun", _instant(run.created)),
                ("artefact", f"{run.filename} ({run.kind})"),
                ("sha256", run.sha256),
                ("profile", run.profile),
                ("phases took", f"{run.seconds:.1f} s"),
                ("evidence", _evidence(detail)),
            )
        ]
    )
    if detail.findings:
        page.heading("findings")
        page.rows([_finding(page, finding) for finding in detail.findings])
    if detail.indicators:
        page.heading("indicators")
        page.rows([[page.text(it.kind), page.text(defang(it.kind, it.value))] for it in detail.indicators[:_SHOWN]])
        if len(detail.indicators) > _SHOWN:
            page.line(page.text(f"... and {len(detail.indicators) - _SHOWN} more (--format json)"), indent=1)
    if run.labels:
        page.heading("labels")
        page.rows(
            [
                [page.text(it.label), page.text(f"{it.author}, {_instant(it.created)}"), page.text(it.note)]
                for it in run.labels
            ]
        )


def _row(page: Page, run: Run) -> list[Text]:
    labels = f" [{', '.join(label.label for label in run.labels)}]" if run.labels else ""
    return [
        page.text(_instant(run.created)),
        page.text((run.verdict, _STYLES[run.verdict])),
        page.text(run.run),
        page.text(f"{run.name} {run.version} ({run.kind}){labels}"),
    ]


def _finding(page: Page, finding: FindingRow) -> list[Text]:
    known = finding.prevalence
    rarity = f"in {known.runs} runs, {known.known_good} of {known.of_known_good} known good ones"
    return [
        page.text(finding.level),
        page.text(finding.name),
        page.text(f"{finding.phase} by {finding.actor}{', suppressed' if finding.suppressed else ''}"),
        page.text(rarity),
    ]


def _evidence(detail: RunDetail) -> str:
    row = detail.evidence
    if row is None:
        return "was never stored"
    if row.removed is not None:
        return f"removed {_instant(row.removed)}: {row.reason}"
    return f"{row.size / _MIB:.1f} MiB"


def _instant(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S")
