"""How far a run is, for whoever watches its row; and the heartbeat that keeps its lease."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox.database.beating import Beating
from sandbox.submissions import attempts
from sandbox.terminal.progress import QuietProgress

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from collector.manifest import PhaseStatus
    from sandbox.config import QueuePlan
    from sandbox.submissions.attempts import Attempt

_TEXT: Final = 240
"""Characters of a step or note: they may hold names that a package chose."""
_AT_MOST_EVERY: Final = 1.0
"""Seconds between two writes, however much happens."""


class RowProgress(QuietProgress):
    """Collects what a run tells.

    As data: `{"step": TEXT, "note": TEXT, "phases": [{"name", "budget", "started", "status", "seconds"}, ...]}`; the
    phase that runs has no status yet. Texts are as they came, but for their length: whoever shows them escapes them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._step = self._note = ""
        self._phases: list[dict[str, Any]] = []
        self.news = threading.Event()
        """Set when there is something to tell; the reader clears it."""

    def step(self, text: str) -> None:
        """Note the step."""
        with self._lock:
            self._step, self._note = _bounded(text), ""
        self.news.set()

    def phase_started(self, name: str, budget_s: float) -> None:
        """Note the phase."""
        with self._lock:
            self._step, self._note = name, ""
            self._phases.append(
                {"name": name, "budget": budget_s, "started": time.time(), "status": "", "seconds": 0.0}
            )
        self.news.set()

    def phase_note(self, text: str) -> None:
        """Note what the phase is at; it waits for the next heartbeat, as there may be hundreds."""
        with self._lock:
            self._note = _bounded(text)

    def phase_ended(self, name: str, status: PhaseStatus, seconds: float) -> None:
        """Note how the phase ended."""
        with self._lock:
            self._note = ""
            for phase in self._phases:
                if phase["name"] == name:
                    phase.update(status=status, seconds=round(seconds, 3))
        self.news.set()

    def told(self) -> dict[str, Any]:
        """Everything so far, as for the row."""
        with self._lock:
            return {"step": self._step, "note": self._note, "phases": [dict(phase) for phase in self._phases]}


class Heartbeat(Beating):
    """While entered, prolongs the lease of an attempt, and writes how far it is."""

    def __init__(self, engine: Engine, attempt: Attempt, plan: QueuePlan, progress: RowProgress) -> None:
        super().__init__(
            f"the attempt at {attempt.submission}",
            self._prolong,
            plan.heartbeat_seconds,
            news=progress.news,
            pause_s=_AT_MOST_EVERY,
        )
        self._engine = engine
        self._attempt = attempt
        self._plan = plan
        self._progress = progress
        self.lost = False
        """Another may have the submission now: the lease could not be kept."""
        self.cancelled = False
        """Somebody asked for the end of the submission."""

    def asks_to_stop(self) -> bool:
        """Whether the run is not wanted any more."""
        return self.lost or self.cancelled

    def _prolong(self) -> bool:
        asked = attempts.beat(self._engine, self._attempt, time.time(), self._plan.lease_seconds, self._progress.told())
        self.lost = asked is None
        self.cancelled = self.cancelled or asked is True
        return not self.lost


def _bounded(text: str) -> str:
    # PostgreSQL's JSON has no NUL, and no half of a surrogate pair.
    return text[:_TEXT].replace("\0", "�").encode("utf-8", "replace").decode()
