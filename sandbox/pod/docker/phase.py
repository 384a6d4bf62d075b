"""One phase in a Docker pod, seen from the worker: what its runner says, its outputs, its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from collector.manifest import LimitHit
from sandbox.pod.interface import Sample
from sandbox.pod.watch import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.pod.docker.tracee import TraceeContainer

_TICK = 0.03
_STATUS_BYTES = 8 << 20
_RESULT_BYTES = 1 << 20
_PATIENCE = 12.0
_LAST_WORDS = 0.5
"""Until the runner has said of what has ended that it has."""


class _Resources(msgspec.Struct, frozen=True):
    ts: float
    processes: int
    cpu_seconds: float
    rss_bytes: int
    read_bytes: int = 0
    written_bytes: int = 0


class _Hit(msgspec.Struct, frozen=True):
    name: Literal["cpu", "memory", "processes", "disk"]
    limit: int
    seen: int
    what: str = ""
    ended: bool = False


_UNITS: Final[dict[str, Literal["bytes", "seconds", "processes"]]] = {"cpu": "seconds", "processes": "processes"}


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the runner's status file (images/docker-tracee/phase.py)."""

    exit: int | None = None
    survivors: int = 0
    oom: int = 0
    sample: _Resources | None = None
    hit: _Hit | None = None
    printed: tuple[int, int] | None = None
    ended: bool | None = None
    gone: bool = False
    error: str = ""


class DockerPhase:
    """A phase from its start to the last survivor's end."""

    def __init__(self, name: str, tracee: TraceeContainer, trace: Path) -> None:
        """Start the phase; its command stands in the tracee's control directory.

        Args:
            name: The phase.
            tracee: The container.
            trace: File the tracer writes.
        """
        self.name = name
        self.trace = trace
        self.exit_code: int | None = None
        self.started_inside = True
        self.survivors = 0
        self.oom = 0
        self._recorder = Recorder()
        self.hits: list[LimitHit] = []
        """Limits that its processes have met together."""
        self.limit = ""
        """The limit for which the runner has ended the phase itself."""
        self.printed = (0, 0)
        """Bytes that came on stdout and stderr, kept or not, as far as the runner has said."""
        self.error = ""
        """A fault of ours: what it was."""
        self._whole = False
        self._over = False
        self._tracee = tracee
        self._status = tracee.control / f"{name}.status"
        self._result = tracee.control / f"{name}.result"
        self._read = 0
        self._count = 0
        tracee.tell(f"run {name}")

    def wait(self, until: float, stop: Callable[[], str]) -> str:
        """Wait for the phase's command to end.

        Args:
            until: time.monotonic() of the budget's end.
            stop: Asked each tick; a non-empty answer names the limit that was hit and ends the wait.

        Returns:
            "" when the command ended, `timed-out`, or what `stop` said.
        """
        while True:
            if not self.alive or self.exit_code is not None:
                return ""
            if limit := stop():
                return limit
            if time.monotonic() > until:
                return "timed-out"
            time.sleep(_TICK)

    def _update(self) -> None:
        """Read what the runner has said since. It is root's, but it stands in a file that came out of a pod."""
        if not self._status.exists():
            return
        with self._status.open("rb") as status:
            status.seek(self._read)
            new = status.read(_STATUS_BYTES)
        lines = new[: new.rfind(b"\n") + 1]
        self._read += len(lines)
        for text in lines.splitlines():
            try:
                self._take(msgspec.json.decode(text, type=_Line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self.error = self.error or f"its runner's word is not understood: {error}"

    def _take(self, line: _Line) -> None:
        if line.exit is not None:
            self.exit_code, self.survivors = line.exit, line.survivors
            self._count = line.survivors
        self.oom += line.oom
        self.printed = line.printed or self.printed
        self._whole = self._whole or bool(line.ended)
        self._over = self._over or line.gone
        self.error = self.error or line.error
        if line.hit is not None:
            hit = line.hit
            self.limit = self.limit or (hit.name if hit.ended else "")
            unit = _UNITS.get(hit.name, "bytes")
            self.hits.append(LimitHit(name=hit.name, limit=hit.limit, seen=hit.seen, what=hit.what, unit=unit))
        if line.sample is not None:
            self._count = line.sample.processes
            self._recorder.take(Sample(phase=self.name, **msgspec.structs.asdict(line.sample)))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Those that make its curve, in order of time."""
        return self._recorder.samples()

    @property
    def alive(self) -> bool:
        """Whether something of the phase still lives."""
        # First whether there can be more, then what there is.
        running = self._tracee.running
        self._update()
        return running and not self._over

    def outlasts(self, patience: float = _LAST_WORDS) -> bool:
        """Whether something of the phase still lives, after at most `patience` seconds."""
        until = time.monotonic() + patience
        while self.alive and time.monotonic() < until:
            time.sleep(_TICK)
        return self.alive

    @property
    def living(self) -> int:
        """Processes that lived when the runner last looked."""
        return self._count if self.alive else 0

    def end(self) -> bool:
        """Have everything of the phase killed; the tracer then ends by itself and its trace is whole.

        Returns:
            False when the trace may lack the end.
        """
        if self.alive:
            self._tracee.tell(f"end {self.name}")
        until = time.monotonic() + _PATIENCE
        while self.alive and time.monotonic() < until:
            time.sleep(_TICK)
        if self.alive:
            # Its runner would have said something by now: the sandbox itself hangs, as gVisor's may.
            self._tracee.abandon()
        return self._whole

    def result(self) -> bytes:
        """What the driver wrote to its result descriptor, bounded. Hostile, like all that comes out of a pod."""
        if not self._result.exists():
            return b""
        with self._result.open("rb") as result:
            return result.read(_RESULT_BYTES)
