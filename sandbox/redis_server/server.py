"""Starts our Redis, and ends it."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sandbox.errors import RedisServerError
from sandbox.redis_server import layout
from sandbox.redis_server.program import find_program

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from sandbox.redis_server.program import RedisProgram

_START_S: Final = 120
"""It reads its append-only file first."""
_STOP_S: Final = 30
_LEAVE_S: Final = 3
"""For the server of a killed process, which writes everything before it ends."""
_POLL_S: Final = 0.01
_LOG_BYTES: Final = 1024 * 1024
_LAST_LINES: Final = 3


def start(directory: Path, program: RedisProgram | None = None) -> RunningRedis:
    """Start a Redis in a directory; returns when it answers, with all that it knew before.

    The kernel ends it with the thread that calls this, whatever happens to that: call it from the main thread.

    Args:
        directory: Made when it is not there. A second start in it is refused while the first one's server lives.
        program: Instead of the one that is found.

    Raises:
        RedisServerError: There is no server on this machine, one runs here already, or it does not start.
    """
    program = program or find_program()
    layout.private_directory(directory)
    lock = _lock(directory)
    try:
        return _start(directory, program, lock)
    finally:
        # The server has inherited it, and holds it for as long as it lives.
        lock.close()


class RunningRedis:
    """A Redis that this process has started."""

    def __init__(self, directory: Path, program: RedisProgram, process: subprocess.Popen[bytes], url: str) -> None:
        self.program = program
        self.url = url
        """For clients of this user; it holds the password."""
        self._directory = directory
        self._process = process

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still does."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, with everything written; nothing happens when it has ended already."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        (self._directory / "url").unlink(missing_ok=True)

    def last_words(self) -> str:
        """The end of its log, as one line."""
        return _last_words(self._directory)


def _lock(directory: Path) -> IO[bytes]:
    lock = (directory / "lock").open("ab")
    until = time.monotonic() + _LEAVE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > until:
                lock.close()
                raise RedisServerError(
                    f"a Redis of fumehood runs in {directory} already: stop it, or choose another `data`"
                ) from error
            time.sleep(_POLL_S)
        else:
            return lock


def _start(directory: Path, program: RedisProgram, lock: IO[bytes]) -> RunningRedis:
    secret = layout.password(directory)
    socket = layout.socket_path(directory)
    # Of a server that was killed.
    socket.unlink(missing_ok=True)
    configuration = directory / "redis.conf"
    layout.write_private(configuration, layout.redis_conf(directory, socket, secret))
    log = directory / "log"
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(directory / "log.1")
    with log.open("ab") as stream:
        try:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", str(program.path), str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=[lock.fileno()],
                # Ctrl-C at the terminal ends those first who use it.
                process_group=0,
            )
        except FileNotFoundError as error:
            raise RedisServerError("setpriv is missing: apt-get install util-linux") from error
    url = f"unix://{layout.USER}:{secret}@{quote(str(socket))}"
    started = RunningRedis(directory, program, process, url)
    try:
        _wait(started)
        layout.write_private(directory / "url", url)
    except BaseException:
        started.stop()
        raise
    return started


def _wait(started: RunningRedis) -> None:
    until = time.monotonic() + _START_S
    with Redis.from_url(started.url, retry=Retry(NoBackoff(), retries=0)) as client:
        while True:
            try:
                client.ping()
            except RedisError as error:
                if not started.running:
                    raise RedisServerError(
                        f"Redis ended at its start: {started.last_words()}; if its append-only file is damaged, remove "
                        "it: what waits is queued again from the database"
                    ) from error
                if time.monotonic() > until:
                    raise RedisServerError(
                        f"Redis did not answer within {_START_S} s: {started.last_words()}"
                    ) from error
                time.sleep(_POLL_S)
            else:
                return


def _last_words(directory: Path) -> str:
    try:
        lines = (directory / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return " | ".join(line.strip() for line in lines[-_LAST_LINES:])
