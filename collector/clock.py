"""Which phase a moment belongs to."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.manifest import Phase


class PhaseClock:
    """The phases of a run in time; each lasts until the next one starts."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        """Take the phases of a manifest; those that did not run have no time."""
        begun = sorted((phase.started, number) for number, phase in enumerate(phases) if phase.started > 0)
        self._starts = [started for started, _ in begun]
        self._names = [phases[number].name for _, number in begun]

    def at(self, ts: float) -> str:
        """Name the phase at a moment.

        Args:
            ts: Seconds since the epoch, on the tracer's clock.

        Returns:
            The phase; the first one for what came earlier, and empty when no phase ran.
        """
        if not self._names:
            return ""
        return self._names[max(bisect_right(self._starts, ts) - 1, 0)]
