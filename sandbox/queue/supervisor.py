"""`fumehood worker`: keeps a host's slots running, and what is queued in agreement with the rows."""

from __future__ import annotations

import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.exc import DBAPIError

from sandbox.queue.housekeeping import Housekeeping
from sandbox.submissions import workers
from sandbox.submissions.workers import WorkerRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from redis import Redis
    from sqlalchemy import Engine

    from sandbox.config import Configuration

_log = structlog.get_logger(__name__)
_LOOK_S: Final = 0.2
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_WELL_AFTER_S: Final = 60.0
"""A slot that lived so long is started again at once."""
_HAND_BACK_S: Final = 20.0


class _Slot:
    """A slot's process, and when to start the next one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.due = 0.0
        self.pause = _FIRST_PAUSE_S


class Supervisor:
    """Starts slots, restarts them whenever they end, and stops them in order."""

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        connection: Redis,
        slots: int,
        environment: Mapping[str, str],
    ) -> None:
        """Prepare.

        Args:
            configuration: Of this host.
            engine: The database, with current tables.
            connection: Redis; it need not answer.
            slots: How many runs at one time.
            environment: Of the slots' processes; FUMEHOOD_CONFIG names the same configuration.
        """
        now = time.time()
        host = socket.gethostname()[:96]
        self.worker = WorkerRow(
            name=f"{host}-{secrets.token_hex(4)}", host=host, slots=slots, started=now, seen=now, draining=False
        )
        self._configuration = configuration
        self._engine = engine
        self._environment = dict(environment)
        self._slots = [_Slot(number) for number in range(slots)]
        self._ended: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._housekeeping = Housekeeping(configuration, engine, connection, self.worker, self._ended)
        self._signals = 0
        self._stopping_since: float | None = None
        self._handing_back_since: float | None = None

    def run(self) -> int:
        """Work until told to stop, by a signal or by `fumehood worker drain`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)
        thread = threading.Thread(target=self._housekeeping.run, args=(self._over,), name="housekeeping", daemon=True)
        thread.start()
        _log.info("worker starts", worker=self.worker.name, slots=self.worker.slots)
        try:
            while not self._is_over():
                time.sleep(_LOOK_S)
        finally:
            self._kill()
            self._over.set()
            thread.join()
        self._leave()
        return 0

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _is_over(self) -> bool:
        self._reap()
        if self._signals or self._housekeeping.draining:
            self._stop()
            return all(slot.process is None for slot in self._slots)
        self._start()
        return False

    def _start(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is None and now >= slot.due:
                name = f"{self.worker.name}.{slot.number}"
                # A group of its own: Ctrl-C is for the supervisor, which passes on what it means.
                slot.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "sandbox.queue", name, str(os.getpid())],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
                slot.started = now

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.process is None or slot.process.poll() is None:
                continue
            code, now = slot.process.returncode, time.monotonic()
            self._ended.put((f"{self.worker.name}.{slot.number}.{slot.process.pid}", f"its slot ended ({_told(code)})"))
            slot.process = None
            if self._stopping_since is not None:
                continue
            slot.pause = _FIRST_PAUSE_S if now - slot.started > _WELL_AFTER_S else min(slot.pause * 2, _LONGEST_PAUSE_S)
            slot.due = now + slot.pause
            _log.warning("a slot ended; it is started again", slot=slot.number, ended=_told(code), pause=slot.pause)

    def _stop(self) -> None:
        """The first request lets runs finish; after a grace, or with the second one, they are handed back."""
        now = time.monotonic()
        if self._stopping_since is None:
            self._stopping_since = now
            _log.info("worker stops: what runs is finished first; once more to hand it back at once")
            self._send(signal.SIGTERM)
        grace = self._configuration.worker.grace_seconds
        if self._handing_back_since is None and (self._signals > 1 or now - self._stopping_since > grace):
            self._handing_back_since = now
            _log.info("what runs is handed back")
            self._send(signal.SIGQUIT)
        if self._handing_back_since is not None and now - self._handing_back_since > _HAND_BACK_S:
            self._kill()

    def _send(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.send_signal(number)

    def _kill(self) -> None:
        """What is left then is told by its lease."""
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait()
        self._reap()

    def _leave(self) -> None:
        try:
            workers.leave(self._engine, self.worker.name)
        except DBAPIError as error:
            _log.warning("the database does not answer; this worker stays listed for a day", error=str(error.orig))
        _log.info("worker has stopped", worker=self.worker.name)


def _told(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
