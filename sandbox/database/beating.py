"""Something of ours in the database, kept ours: a heartbeat from a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError

from sandbox.database.faults import told

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_log = structlog.get_logger(__name__)


class Beating:
    """While entered, beats again and again, until a beat says that there is nothing more to keep.

    A beat that does not reach the database is left out: the lease outlives a short absence, and nobody can take it over
    while that lasts.
    """

    def __init__(
        self,
        name: str,
        beat: Callable[[], bool],
        every_s: float,
        *,
        news: threading.Event | None = None,
        pause_s: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            name: What is kept, for the log.
            beat: Prolongs the lease; whether to go on.
            every_s: Seconds between two beats.
            news: Set by others when a beat shall come at once; cleared here.
            pause_s: Seconds between two beats at least, however much news there is.
        """
        self._name = name
        self._beat = beat
        self._every_s = every_s
        self._news = news or threading.Event()
        self._pause_s = pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat of {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._news.wait(self._every_s)
            self._news.clear()
            if self._over.is_set():
                return
            try:
                if not self._beat():
                    return
            except DBAPIError as error:
                _log.warning("the database does not answer; work goes on", of=self._name, error=told(error))
            self._over.wait(self._pause_s)
