"""A server that a test starts, stops, kills and starts again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

import psutil

START_S = 60.0
STOP_S = 60.0
_POLL_S = 0.005


class ServerError(Exception):
    """A server could not be started or stopped; with its last words."""


class Server(ABC):
    """One server process with a directory of its own, whose address outlives restarts."""

    name: str
    url: str

    def __init__(self) -> None:
        # Not pytest's directory: socket paths are short, and another user has to get there.
        self.directory = Path(tempfile.mkdtemp(prefix=f"fh-{self.name}-", dir="/tmp"))
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the server's first process.

        Raises:
            ServerError: It does not run.
        """
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its first process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and return when it answers."""
        if self.running:
            raise ServerError(f"{self.name} runs already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # The kernel ends the server when the test process is killed.
                ["setpriv", *self._identity(), "--pdeathsig", "KILL", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                # Ctrl-C at the terminal is for the tests; they stop their servers.
                process_group=0,
            )
        until = time.monotonic() + START_S
        while not self._answers():
            if not self.running:
                raise ServerError(f"{self.name} ended at its start:\n{self._last_words()}")
            if time.monotonic() > until:
                self.kill()
                raise ServerError(f"{self.name} did not answer within {START_S:.0f} s:\n{self._last_words()}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it as an administrator would; nothing happens when it does not run."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(self._stop_signal())
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"{self.name} did not stop within {STOP_S:.0f} s:\n{self._last_words()}") from None

    def kill(self) -> None:
        """SIGKILL for all of its processes at one time, as when the machine loses power; they are gone on return."""
        if self._process is None or not self.running:
            return
        first = psutil.Process(self._process.pid)
        # The first is held, so that it starts no others meanwhile.
        first.suspend()
        family = first.children(recursive=True)
        for process in (first, *family):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait(STOP_S)
        until = time.monotonic() + STOP_S
        while any(map(alive, family)):
            if time.monotonic() > until:
                raise ServerError(f"{self.name}: processes outlive SIGKILL")
            time.sleep(_POLL_S)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it, and remove all that it has kept."""
        self.kill()
        shutil.rmtree(self.directory)

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def _identity(self) -> tuple[str, ...]:
        """Options of setpriv that change the user."""
        return ()

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


def alive(process: psutil.Process) -> bool:
    """Whether it runs. One that has ended stays for a while, until its new parent looks."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def need(command: str, package: str, *directories: Path) -> Path:
    """Path of a server's program.

    Raises:
        ServerError: It is not installed. Tests never do without.
    """
    for directory in directories:
        if (directory / command).exists():
            return directory / command
    if found := shutil.which(command):
        return Path(found)
    raise ServerError(f"{command} is missing: apt-get install {package} (`make test` does)")
