"""From a report to the rows that stand for it."""

from __future__ import annotations

from calendar import timegm
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, insert

from collector.store.schema import FINDINGS, RUNS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from collector.report import Report


class RunRows(msgspec.Struct, frozen=True, kw_only=True):
    """One run's rows, by table."""

    run: dict[str, Any]
    findings: tuple[dict[str, Any], ...]


def rows(report: Report) -> RunRows:
    """Everything the store keeps of a report; the same rows for the same report."""
    manifest, package = report.manifest, report.package
    return RunRows(
        run={
            "run": manifest.run,
            "created": _epoch(manifest.created),
            "purl": _stored(package.purl),
            "ecosystem": package.ecosystem,
            "name": _stored(package.name),
            "version": _stored(package.version),
            "filename": _stored(package.filename),
            "sha256": package.sha256,
            "kind": package.kind,
            "profile": report.profile.name,
            "profile_sha256": manifest.profile_sha256,
            "rules_sha256": manifest.rules_sha256,
            "fumehood": manifest.fumehood,
            "verdict": report.verdict,
            "classification": report.classification,
            "reasons": [_stored(reason) for reason in report.reasons],
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
                "title": _stored(finding.title),
                "level": finding.level,
                "weight": finding.weight,
                "suppressed": finding.suppression is not None,
                "phase": finding.phase,
                "actor": _stored(finding.actor),
                "count": finding.count,
                "attack": list(finding.attack),
            }
            for position, finding in enumerate(report.findings)
        ),
    )


def write(connection: Connection, made: RunRows) -> None:
    """Put a run's rows in place of those it had; within the caller's transaction."""
    connection.execute(delete(RUNS).where(RUNS.c.run == made.run["run"]))
    connection.execute(insert(RUNS), made.run)
    if made.findings:
        connection.execute(insert(FINDINGS), made.findings)


def _epoch(moment: str) -> float:
    """Seconds since the epoch of an RFC 3339 instant in UTC, as manifests have it."""
    date, _, time = moment.removesuffix("Z").partition("T")
    year, month, day = map(int, date.split("-"))
    hour, minute, second = map(int, time.split(":"))
    return float(timegm((year, month, day, hour, minute, second)))


def _stored(text: str) -> str:
    """Text as every database takes it: PostgreSQL has no NUL, and no half of a surrogate pair."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()
