"""What the phases used of the machine: one line each, with the course of their memory in a few characters."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from collector.limits import amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.report import PhaseReport
    from collector.resources import CurvePoint
    from sandbox.terminal.page import Page

_WIDTH: Final = 14
"""Characters of a curve: with numbers of usual width, a line of 80 is not folded."""
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-=+*#@"
"""The same where nothing but ASCII can be shown."""


def render_resources(page: Page, phases: Sequence[PhaseReport]) -> None:
    """Write a line for each phase of which there are samples; nothing when there are none.

    Args:
        page: Where to.
        phases: Those of a report.
    """
    measured = [(phase, phase.resources) for phase in phases if phase.resources is not None]
    if not measured:
        return
    page.heading("Resources")
    highest = max(used.peak_rss_bytes for _, used in measured)
    levels = _ASCII if page.ascii_only else _BLOCKS
    page.rows(
        [
            [
                page.text(phase.name),
                page.text(f"{amount(used.peak_rss_bytes, 'bytes')} memory"),
                page.text(f"{used.cpu_seconds:.1f} s processor"),
                page.text("1 process" if used.peak_processes == 1 else f"{used.peak_processes:,} processes"),
                page.text((sparkline(used.curve, highest, levels), "cyan")),
            ]
            if used.peak_processes
            # Shorter than the time between two samples: zeros would be no measurement.
            else [page.text(phase.name), page.text("not measured"), *[page.text("")] * 3]
            for phase, used in measured
        ]
    )


def sparkline(curve: Sequence[CurvePoint], highest: int, levels: str = _BLOCKS) -> str:
    """Draw the memory of a curve's points; neighbours share a character when there are too many.

    Args:
        curve: In order of time.
        highest: Bytes that make the highest character: the same for all phases, so that they can be compared.
        levels: Characters from the lowest to the highest.
    """
    width = min(len(curve), _WIDTH)
    cuts = [len(curve) * number // width for number in range(width + 1)] if width else []
    parts = [max(point.rss_bytes for point in curve[start:end]) for start, end in pairwise(cuts)]
    top = max(highest, 1)
    return "".join(levels[min(part * len(levels) // top, len(levels) - 1)] for part in parts)
