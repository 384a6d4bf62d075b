"""What is counted of a run that counts."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collector.report import Report
    from sandbox.database.counters import Tally

SECONDS: Final = (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)
"""Upper bounds of the classes of a phase's time."""
MEBIBYTES: Final = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""The same of a phase's greatest memory."""


def measure(tally: Tally, report: Report) -> None:
    """Count a run: verdict, time, resources, and what was not seen."""
    tally.add("verdicts_total", verdict=report.verdict)
    for phase in report.phases:
        if phase.status == "not-run":
            continue
        tally.add("phases_total", phase=phase.name, status=phase.status)
        tally.add("phase_seconds_sum", phase.seconds, phase=phase.name)
        tally.add("phase_seconds_bucket", phase=phase.name, le=_class(SECONDS, phase.seconds))
        if phase.trace.file and not phase.trace.complete:
            tally.add("traces_incomplete_total", phase=phase.name)
        if phase.trace.unparsed:
            tally.add("trace_lines_unparsed_total", phase.trace.unparsed, phase=phase.name)
        for hit in phase.limits:
            tally.add("limits_hit_total", limit=hit.name)
        used = phase.resources
        if used is not None:
            tally.add("pod_cpu_seconds_total", used.cpu_seconds, phase=phase.name)
            tally.add("pod_memory_mebibytes_sum", used.peak_rss_bytes / 2**20, phase=phase.name)
            tally.add(
                "pod_memory_mebibytes_bucket", phase=phase.name, le=_class(MEBIBYTES, used.peak_rss_bytes / 2**20)
            )


def _class(bounds: tuple[float, ...], value: float) -> str:
    place = bisect_left(bounds, value)
    return str(bounds[place]) if place < len(bounds) else "+Inf"
