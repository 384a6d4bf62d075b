"""A part of the service: one process of ours that is started again whenever it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_WELL_AFTER_S: Final = 60.0
"""Who lived so long is started again without a longer pause than the first."""


class Pauses:
    """How long to wait before something that ended is started again: longer each time, unless it lived well."""

    def __init__(self) -> None:
        self.seconds = _FIRST_PAUSE_S / 2

    def next(self, lived_s: float) -> float:
        """The next pause, in seconds, after something that lived so many seconds."""
        well = lived_s > _WELL_AFTER_S
        self.seconds = _FIRST_PAUSE_S if well else min(self.seconds * 2, _LONGEST_PAUSE_S)
        return self.seconds


class Part:
    """One of our commands as a child, in a process group of its own: Ctrl-C at the terminal reaches `up` alone."""

    def __init__(self, name: str, arguments: list[str], orphaned: Literal["TERM", "KILL"]) -> None:
        """Describe it; nothing is started yet.

        Args:
            name: What people call it.
            arguments: Of the command `fumehood`.
            orphaned: The signal that it gets when we are killed: KILL for who has nothing to finish.
        """
        self.name = name
        self._orphaned = orphaned
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._due = 0.0
        self._pauses = Pauses()

    @property
    def pid(self) -> int | None:
        """Its process, when there is one."""
        return self._process.pid if self._process else None

    def start_when_due(self, environment: Mapping[str, str]) -> None:
        """Start it, unless it runs, or has ended only just now."""
        if self._process is not None or time.monotonic() < self._due:
            return
        # -P: a directory that is called `sandbox` where somebody happens to be is not ours.
        command = [sys.executable, "-P", "-m", "sandbox", *self._arguments]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", self._orphaned, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            process_group=0,
        )
        self._started = time.monotonic()

    def ended(self) -> int | None:
        """The exit code of a process that has ended since this was last asked."""
        if self._process is None or self._process.poll() is None:
            return None
        code, self._process = self._process.returncode, None
        now = time.monotonic()
        self._due = now + self._pauses.next(now - self._started)
        return code

    @property
    def pause_s(self) -> float:
        """How long until it is started again."""
        return max(0.0, self._due - time.monotonic())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has come."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._process = None
        return True


def told(code: int) -> str:
    """An exit code in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
