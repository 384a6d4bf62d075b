"""Keeps a sweep ours while it runs, also through a feed that answers slowly."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.exc import DBAPIError

from sandbox.sweeps import rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

LEASE_S: Final = 60.0
_BEAT_S: Final = 15.0

_log = structlog.get_logger(__name__)


class Lease:
    """While entered, prolongs a run's lease; `lost` is set when another process has taken the run over."""

    def __init__(self, engine: Engine, run: rows.SweepRun, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._run = run
        self._clock = clock
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {run.sweep}", daemon=True)
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(_BEAT_S):
            try:
                held = rows.hold(self._engine, self._run, self._clock(), LEASE_S)
            except DBAPIError as error:
                # The next beat may reach it; if not, the lease runs out, and what is written next is refused.
                _log.warning("the lease of a sweep could not be prolonged", sweep=self._run.sweep, error=str(error))
                continue
            if not held:
                self.lost.set()
                return
