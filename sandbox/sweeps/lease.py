"""Keeps a sweep ours while it runs, also through a feed that answers slowly."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from sandbox.database.beating import Beating
from sandbox.sweeps import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

LEASE_S: Final = 60.0
_BEAT_S: Final = 15.0


class Lease(Beating):
    """While entered, prolongs a run's lease; `lost` is set when another process has taken the run over."""

    def __init__(self, engine: Engine, run: rows.SweepRun, clock: Callable[[], float]) -> None:
        super().__init__(f"the sweep {run.sweep}", self._hold, _BEAT_S)
        self._engine = engine
        self._sweep_run = run
        self._clock = clock
        self.lost = threading.Event()

    def _hold(self) -> bool:
        held = rows.hold(self._engine, self._sweep_run, self._clock(), LEASE_S)
        if not held:
            self.lost.set()
        return held
