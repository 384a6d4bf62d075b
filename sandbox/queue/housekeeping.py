"""What a supervisor does every few seconds, beside its slots: it tells that it lives, reconciles, and clears up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from sandbox import partial
from sandbox.errors import PodError
from sandbox.queue.orphans import engine_may_answer, remove_orphans
from sandbox.queue.reconcile import Reconciler
from sandbox.queue.work import runs_directory
from sandbox.submissions import keys, workers

if TYPE_CHECKING:
    import queue
    import threading
    from collections.abc import Callable

    from redis import Redis
    from sqlalchemy import Engine

    from sandbox.config import Configuration
    from sandbox.submissions.workers import WorkerRow

_log = structlog.get_logger(__name__)
_CLEAR_EVERY_S: Final = 60.0
_LOOK_S: Final = 0.5


class Housekeeping:
    """The supervisor's other thread."""

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        connection: Redis,
        worker: WorkerRow,
        ended: queue.SimpleQueue[tuple[str, str]],
    ) -> None:
        """Prepare.

        Args:
            configuration: Of this host.
            engine: The database.
            connection: Redis.
            worker: The supervisor.
            ended: Slots' processes that have ended, and how: nobody else will tell of their runs.
        """
        self._configuration = configuration
        self._engine = engine
        self._worker = worker
        self._ended = ended
        self._reconciler = Reconciler(engine, connection, configuration.queue)
        self._unsaid: list[tuple[str, str]] = []
        self.draining = False
        """Somebody asked this worker to end."""

    def run(self, over: threading.Event) -> None:
        """Go on until it is over; then once more, for what ended last."""
        reconciled = cleared = float("-inf")
        while not over.wait(_LOOK_S):
            now = time.monotonic()
            self._guarded(self._give_up_ended)
            if now - reconciled >= self._configuration.queue.reconcile_seconds:
                reconciled = now
                self._guarded(self._tell_and_reconcile)
            if now - cleared >= _CLEAR_EVERY_S:
                cleared = now
                self._guarded(self._clear_up)
                self._guarded(self._forget_keys)
        self._guarded(self._give_up_ended)

    def _guarded(self, duty: Callable[[], None]) -> None:
        """A duty that fails is tried again at its next time; the thread lives on."""
        try:
            duty()
        except (DBAPIError, RedisError, PodError, OSError) as error:
            _log.warning("could not be done now", duty=duty.__name__.strip("_"), error=str(error))
        except Exception:  # noqa: BLE001 - slots go on; whatever it is, it is logged and tried again
            _log.exception("housekeeping went wrong", duty=duty.__name__.strip("_"))

    def _give_up_ended(self) -> None:
        while not self._ended.empty():
            self._unsaid.append(self._ended.get_nowait())
        while self._unsaid:
            self._reconciler.lose_owned(*self._unsaid[0])
            self._unsaid.pop(0)

    def _tell_and_reconcile(self) -> None:
        self.draining = workers.seen(self._engine, self._worker, time.time()) or self.draining
        self._reconciler.reconcile()

    def _clear_up(self) -> None:
        """Remove what killed runs left here: their directories, and containers. Embedded pods die with their runs."""
        directory = runs_directory(self._configuration)
        if directory.is_dir():
            partial.remove_stale(directory)
        # A submission may ask for a Docker pod whatever the configuration says.
        if engine_may_answer() or self._configuration.worker.pod == "docker":
            remove_orphans(self._engine)

    def _forget_keys(self) -> None:
        keys.forget(self._engine, time.time())
