"""Keeps the parts of the service running on one machine, and stops them in order."""

from __future__ import annotations

import http.client
import signal
import time
from typing import TYPE_CHECKING, Final

from sandbox.errors import RedisServerError
from sandbox.redis_server.server import start as start_redis
from sandbox.up.part import Part, Pauses, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from sandbox.redis_server.server import RunningRedis

_LOOK_S: Final = 0.1
_USAGE: Final = 2
"""Exit code of a part whose configuration is wrong: starting it again would not help."""
_ANSWER_S: Final = 2.0
_KILL_AFTER: Final = 3
"""So many requests to stop, and what still runs is killed."""


class OwnRedis:
    """Our Redis, started again whenever it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: RunningRedis | None = None
        self._started = 0.0
        self._due = 0.0
        self._pauses = Pauses()

    def start(self) -> str:
        """Start it for the first time; its version.

        Raises:
            RedisServerError: It cannot be started.
        """
        self._running = start_redis(self._directory)
        self._started = time.monotonic()
        return self._running.program.version

    def keep(self, tell: Callable[[str], None]) -> None:
        """Start it again if it has ended."""
        now = time.monotonic()
        if self._running is not None:
            if self._running.running:
                return
            words, self._running = self._running.last_words(), None
            self._due = now + self._pauses.next(now - self._started)
            tell(f"Redis has ended and is started again: {words}")
        if now < self._due:
            return
        try:
            self.start()
        except RedisServerError as error:
            self._due = time.monotonic() + self._pauses.next(0.0)
            tell(str(error))

    def stop(self) -> None:
        """End it, with everything written."""
        if self._running is not None:
            self._running.stop()
            self._running = None


class Machine:
    """Everything that runs here."""

    def __init__(
        self,
        parts: Sequence[Part],
        redis: OwnRedis | None,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            parts: In the order in which they are stopped.
            redis: Ours; `None` when another one is used. It has been started, and is stopped last.
            environment: Of the parts.
            tell: Takes one line for people.
        """
        self._parts = parts
        self._down: set[str] = set()
        self._redis = redis
        self._environment = environment
        self._tell = tell
        self._requests = 0
        self._code = 0

    def run(self, address: tuple[str, int], when_ready: Callable[[], None]) -> int:
        """Run until a signal asks for the end, or a part cannot run at all.

        Args:
            address: Where the HTTP interface will answer.
            when_ready: Called once, when it does.

        Returns:
            Exit code.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._hear)
        ready = False
        try:
            while not self._requests and not self._code:
                self._look()
                if not ready and _answers(address):
                    ready = True
                    when_ready()
                time.sleep(_LOOK_S)
        finally:
            self._stop()
        return self._code

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._requests += 1

    def _look(self) -> None:
        if self._redis is not None:
            self._redis.keep(self._tell)
        for part in self._parts:
            code = part.ended()
            if code == 0:
                self._down.add(part.name)
                self._tell(f"{part.name} was asked to end and has; the rest goes on without it until this is restarted")
            elif code == _USAGE:
                self._code = code
                self._tell(f"{part.name} cannot run (it says why above)")
            elif code is not None:
                self._tell(f"{part.name} ended ({told(code)}); started again in {part.pause_s:.1f} s")
            if part.name not in self._down and not self._code:
                part.start_when_due(self._environment)

    def _stop(self) -> None:
        for part in self._parts:
            self._end(part)
        if self._redis is not None:
            self._redis.stop()
        self._tell("everything has stopped")

    def _end(self, part: Part) -> None:
        """Ask a part to end, and wait; who asks us again asks the part again."""
        asked = 0
        if part.pid is not None:
            self._tell(f"stopping {part.name}")
        while not part.wait(_LOOK_S if asked else 0):
            requests = max(1, self._requests)
            if asked < requests:
                asked += 1
                part.send(signal.SIGKILL if asked >= _KILL_AFTER else signal.SIGTERM)


def _answers(address: tuple[str, int]) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/api/v1/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
