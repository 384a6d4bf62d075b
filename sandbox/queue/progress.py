"""How far a run is, for whoever watches its row; and the heartbeat that keeps its lease."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy.exc import DBAPIError

from sandbox.submissions import attempts
from sandbox.terminal.progress import QuietProgress

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

    from collector.manifest import PhaseStatus
    from sandbox.config import QueuePlan
    from sandbox.submissions.attempts import Attempt

_log = structlog.get_logger(__name__)
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


class Heartbeat:
    """While entered, prolongs the lease of an attempt from a thread of its own."""

    def __init__(self, engine: Engine, attempt: Attempt, plan: QueuePlan, progress: RowProgress) -> None:
        self._engine = engine
        self._attempt = attempt
        self._plan = plan
        self._progress = progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.lost = False
        """Another may have the submission now: the lease could not be kept."""
        self.cancelled = False
        """Somebody asked for the end of the submission."""

    def asks_to_stop(self) -> bool:
        """Whether the run is not wanted any more."""
        return self.lost or self.cancelled

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._progress.news.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self._progress.news.wait(self._plan.heartbeat_seconds)
            self._progress.news.clear()
            if self._over.is_set():
                return
            self._beat()
            self._over.wait(_AT_MOST_EVERY)

    def _beat(self) -> None:
        try:
            asked = attempts.beat(
                self._engine, self._attempt, time.time(), self._plan.lease_seconds, self._progress.told()
            )
        except DBAPIError as error:
            # The lease outlives a short absence of the database, and nobody can take it while that lasts.
            _log.warning("the database does not answer; the run goes on", error=str(error.orig))
            return
        self.lost = self.lost or asked is None
        self.cancelled = self.cancelled or asked is True


def _bounded(text: str) -> str:
    # PostgreSQL's JSON has no NUL, and no half of a surrogate pair.
    return text[:_TEXT].replace("\0", "�").encode("utf-8", "replace").decode()
