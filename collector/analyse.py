"""The whole collector on one page: from a bundle and rules to a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import baseline, timeline
from collector.compose import compose
from collector.findings import match
from collector.report import SigmaReport
from collector.sigma.view import Context
from collector.suppressions import NONE, apply
from collector.verdict import decide

if TYPE_CHECKING:
    from collector.bundle import Bundle
    from collector.report import Report
    from collector.sigma.rule import RuleSet
    from collector.suppressions import Suppressions
    from collector.timeline import Timeline


def analyse(bundle: Bundle, rules: RuleSet, suppressions: Suppressions = NONE) -> Report:
    """Explain a run: same bundle, rules and suppressions, same report.

    Args:
        bundle: The evidence.
        rules: What counts as a finding.
        suppressions: Findings that do not count.

    Returns:
        The report, ready for `collector.report.to_json`.

    Raises:
        BundleError: A file of the bundle cannot be read as what it should be.
    """
    return judge(bundle, timeline.build(bundle), rules, suppressions)


def judge(bundle: Bundle, told: Timeline, rules: RuleSet, suppressions: Suppressions = NONE) -> Report:
    """Explain a run whose evidence has been read already.

    Args:
        bundle: The evidence.
        told: What was read from it.
        rules: What counts as a finding.
        suppressions: Findings that do not count.

    Returns:
        The report.
    """
    manifest = bundle.manifest
    context = Context(home=manifest.home, user=manifest.user, processes=told.processes)
    findings, outcomes = apply(suppressions, match(rules, told.events, context), manifest, rules)
    verdict = decide(findings, manifest, told)
    return compose(
        manifest=manifest,
        bait=bundle.bait,
        timeline=told,
        findings=findings,
        verdict=verdict,
        rules_digest=rules.digest,
        sigma=SigmaReport.of(rules),
        suppressed=outcomes,
        baseline=baseline.read(bundle),
    )
