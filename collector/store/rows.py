"""From a report to the rows that stand for it."""

from __future__ import annotations

from calendar import timegm
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, insert, literal, select

from collector.store.schema import FINDINGS, LABELS, RUNS, TERMS
from collector.store.stored import NAME, stored
from collector.store.terms import terms

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from collector.report import Report


class RunRows(msgspec.Struct, frozen=True, kw_only=True):
    """One run's rows, by table."""

    run: dict[str, Any]
    findings: tuple[dict[str, Any], ...]
    terms: tuple[dict[str, Any], ...]


def rows(report: Report) -> RunRows:
    """Everything the store keeps of a report; the same rows for the same report."""
    manifest, package = report.manifest, report.package
    created = _epoch(manifest.created)
    return RunRows(
        run={
            "run": manifest.run,
            "created": created,
            "purl": stored(package.purl),
            "ecosystem": package.ecosystem,
            "name": stored(package.name, NAME),
            "version": stored(package.version, NAME),
            "filename": stored(package.filename),
            "sha256": package.sha256,
            "kind": package.kind,
            "profile": report.profile.name,
            "profile_sha256": manifest.profile_sha256,
            "rules_sha256": manifest.rules_sha256,
            "fumehood": manifest.fumehood,
            "verdict": report.verdict,
            "classification": report.classification,
            "reasons": [stored(reason) for reason in report.reasons],
            "events": report.events,
            "seconds": sum(phase.seconds for phase in report.phases),
            "interrupted": manifest.interrupted,
        },
        findings=tuple(
            {
                "run": manifest.run,
                "position": position,
                "rule": finding.rule,
                "name": finding.name,
                "title": stored(finding.title),
                "level": finding.level,
                "weight": finding.weight,
                "suppressed": finding.suppression is not None,
                "phase": finding.phase,
                "actor": stored(finding.actor),
                "count": finding.count,
                "attack": list(finding.attack),
            }
            for position, finding in enumerate(report.findings)
        ),
        terms=tuple(
            {"kind": kind, "value": value, "created": created, "run": manifest.run} for kind, value in terms(report)
        ),
    )


def write(connection: Connection, made: RunRows) -> None:
    """Put a run's rows in place of those it had; within the caller's transaction. Its labels stay."""
    run, created = made.run["run"], made.run["created"]
    connection.execute(delete(RUNS).where(RUNS.c.run == run))
    connection.execute(insert(RUNS), made.run)
    for table, several in ((FINDINGS, made.findings), (TERMS, made.terms)):
        if several:
            connection.execute(insert(table), several)
    labelled = select(literal("label"), LABELS.c.label, literal(created), LABELS.c.run).where(LABELS.c.run == run)
    connection.execute(insert(TERMS).from_select(["kind", "value", "created", "run"], labelled))


def _epoch(moment: str) -> float:
    """Seconds since the epoch of an RFC 3339 instant in UTC, as manifests have it."""
    date, _, time = moment.removesuffix("Z").partition("T")
    year, month, day = map(int, date.split("-"))
    hour, minute, second = map(int, time.split(":"))
    return float(timegm((year, month, day, hour, minute, second)))
