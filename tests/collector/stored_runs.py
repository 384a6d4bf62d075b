"""Reports of many runs, made from those of real ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.verdict import VerdictName

REPORTS = Path(__file__).parents[1] / "golden" / "reports"
DAY = "2026-11-{:02d}T{:02d}:{:02d}:{:02d}Z"


@cache
def golden(name: str) -> Report:
    return msgspec.json.decode((REPORTS / f"{name}.json").read_bytes(), type=Report)


def made(  # noqa: PLR0913 - one keyword for each thing that runs are found by
    number: int,
    *,
    name: str = "thing",
    version: str = "1.0",
    verdict: VerdictName = "clean",
    rules: Sequence[str] = (),
    domains: Sequence[str] = (),
    profile: str = "pypi",
    like: str = "pth-beacon",
) -> Report:
    """The report of a run begun `number` seconds after the first of November; equal for equal arguments."""
    base = golden(like)
    minutes, seconds = divmod(number, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    finding, attempt = golden("pth-beacon").findings[0], golden("pth-beacon").network.dns[0]
    return msgspec.structs.replace(
        base,
        verdict=verdict,
        package=msgspec.structs.replace(
            base.package, name=name, version=version, purl=f"pkg:pypi/{name}@{version}", sha256=f"{number:064x}"
        ),
        profile=msgspec.structs.replace(base.profile, name=profile),
        findings=tuple(
            msgspec.structs.replace(finding, name=rule, rule=f"id-of-{rule}", attack=("T1059.004",)) for rule in rules
        ),
        network=msgspec.structs.replace(
            base.network,
            dns=tuple(msgspec.structs.replace(attempt, name=domain, role="") for domain in domains),
            http=(),
            tls=(),
            other=(),
        ),
        manifest=msgspec.structs.replace(
            base.manifest, run=f"{number * 7919 % 2**32:016x}", created=DAY.format(1 + days, hours, minutes, seconds)
        ),
    )
