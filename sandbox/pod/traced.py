"""One traced phase: its processes, pipes, limits and end."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from sandbox.pod import seccomp
from sandbox.pod.usage import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.pod.interface import Sample


_TICK, _FIRST_TICK = 0.05, 0.02
_RESULT_BYTES = 1 << 20
_STATUS_BYTES = 1 << 16


class _Status(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A line of bubblewrap's `--json-status-fd`."""

    child_pid: int | None = None
    exit_code: int | None = None


class BoundedOutput(threading.Thread):
    """Drains a pipe to its end, keeping the first `limit` bytes in a file: a flood neither blocks nor fills."""

    def __init__(self, descriptor: int, target: Path, limit: int) -> None:
        super().__init__(daemon=True, name=f"output {target.name}")
        self._descriptor = descriptor
        self._target = target
        self._left = limit
        self.printed = 0
        """Bytes that came, kept or not."""
        self.truncated = False

    def run(self) -> None:
        """Read until the last writer has closed the pipe."""
        with self._target.open("wb", buffering=0) as kept, os.fdopen(self._descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(1 << 16):
                self.printed += len(chunk)
                if len(chunk) > self._left:
                    self.truncated = True
                try:
                    self._left -= kept.write(chunk[: self._left]) or 0
                except OSError:
                    # A full disk: the package must go on being drained, or it would wait for us.
                    self._left = 0
                    self.truncated = True


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Files that a phase leaves, and how much of its output is kept."""

    trace: Path
    stdout: Path
    stderr: Path
    output_bytes: int


class TracedPhase:
    """The tracer with everything below it, from start to the last survivor's end."""

    def __init__(
        self,
        name: str,
        kept: Kept,
        pod_first: int,
        start: Callable[[int, int, int], tuple[Sequence[str], dict[str, str]]],
        *,
        reports: bool,
    ) -> None:
        """Start the tracer.

        Args:
            name: The phase.
            kept: What it leaves.
            pod_first: Process 1 of the pod, by its id on the host.
            start: Gives the command line and environment for (status, result, system call filter) descriptors.
            reports: Whether the command gets the result descriptor.
        """
        self.name = name
        self.trace = kept.trace
        self._pod_first = pod_first
        self.exit_code: int | None = None
        self.started_inside = False
        status_read, status_write = os.pipe()
        result_read, result_write = os.pipe()
        filter_fd = _filter()
        command, environment = start(status_write, result_write, filter_fd)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=(status_write, filter_fd, *((result_write,) if reports else ())),
            start_new_session=True,
        )
        for descriptor in (status_write, result_write, filter_fd):
            os.close(descriptor)
        self._pipes = {status_read: bytearray(), result_read: bytearray()}
        self._status_fd, self._result_fd = status_read, result_read
        self._status_seen = 0
        self._first: psutil.Process | None = None
        pipes = [pipe for pipe in (self._process.stdout, self._process.stderr) if pipe is not None]
        self._outputs = [
            BoundedOutput(os.dup(pipe.fileno()), target, kept.output_bytes)
            for pipe, target in zip(pipes, (kept.stdout, kept.stderr), strict=True)
        ]
        for pipe in pipes:
            pipe.close()
        for reader in self._outputs:
            reader.start()
        self._result = b""
        self.meter = Meter(name)
        """Adds up the resources of its processes."""

    def wait(self, until: float, stop: Callable[[], str]) -> str:
        """Wait for the phase's root to end.

        Args:
            until: time.monotonic() of the budget's end.
            stop: Asked each tick; a non-empty answer names the limit that was hit and ends the wait.

        Returns:
            "" when the root ended, `timed-out`, or what `stop` said.
        """
        began = time.monotonic()
        while self.exit_code is None:
            # Often at first: a short phase is to be looked at too.
            self._read_pipes(min(max((time.monotonic() - began) / 10, _FIRST_TICK), _TICK))
            if self._process.poll() is not None and self._status_fd not in self._pipes:
                break
            if limit := stop():
                return limit
            if time.monotonic() > until:
                return "timed-out"
        return ""

    def _read_pipes(self, seconds: float) -> None:
        if not self._pipes:
            time.sleep(seconds)
            return
        ready, _, _ = select.select(list(self._pipes), [], [], seconds)
        for descriptor in ready:
            chunk = os.read(descriptor, 1 << 16)
            kept = self._pipes[descriptor]
            bound = _RESULT_BYTES if descriptor == self._result_fd else _STATUS_BYTES
            kept += chunk[: max(bound - len(kept), 0)]
            if descriptor == self._status_fd:
                self._read_status()
            if not chunk:
                os.close(descriptor)
                if descriptor == self._result_fd:
                    self._result = bytes(kept)
                del self._pipes[descriptor]

    def _read_status(self) -> None:
        lines = self._pipes[self._status_fd].split(b"\n")
        for line in lines[self._status_seen : -1]:
            status = msgspec.json.decode(line, type=_Status)
            if status.child_pid is not None:
                self.started_inside = True
                self._first = self._find_first(status.child_pid)
            if status.exit_code is not None:
                self.exit_code = status.exit_code
        self._status_seen = len(lines) - 1

    def result(self) -> bytes:
        """What the driver wrote to its result descriptor, bounded. Hostile, like all that comes out of a pod."""
        until = time.monotonic() + 1
        while self._result_fd in self._pipes and time.monotonic() < until and self._process.poll() is None:
            before = len(self._pipes[self._result_fd])
            self._read_pipes(_TICK)
            if self._result_fd in self._pipes and len(self._pipes[self._result_fd]) == before:
                break
        if self._result_fd in self._pipes:
            self._read_pipes(0)
        return self._result or bytes(self._pipes.get(self._result_fd, b""))

    def _find_first(self, pod_pid: int) -> psutil.Process | None:
        """Process 1 of the tracee's pid namespace, bubblewrap's reaper, by its id in the pod's namespace.

        It stands below the tracer while bubblewrap's other process lives, and is then adopted by the pod's process 1.
        """
        for ancestor in (self._process.pid, self._pod_first):
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in psutil.Process(ancestor).children(recursive=True):
                    if _namespace_pids(process.pid)[1:] == [pod_pid, 1]:
                        return process
        return None

    def processes(self) -> list[psutil.Process]:
        """The package's processes that are alive: all below the first of the tracee's pid namespace."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in self._first.children(recursive=True) if self._first else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    # A main thread that has ended makes a zombie of a process whose other threads go on.
                    if process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1:
                        found.append(process)
        return found

    def sample(self) -> Sample | None:
        """Resources of its processes now; None before there are any."""
        return self.meter.take(self._first.pid) if self._first is not None else None

    def alive(self, patience: float = 0.0) -> bool:
        """Whether the tracer still has something to trace, after at most `patience` seconds."""
        until = time.monotonic() + patience
        while self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        return self._process.poll() is None

    def end(self, patience: float = 10.0) -> bool:
        """Kill whatever of the package lives; the tracer then ends by itself and its trace is whole.

        Returns:
            False when the tracer had to be killed too, so that its trace may lack the end.
        """
        if self._status_fd in self._pipes:
            self._read_pipes(0)
        if self._first is not None:
            # The kernel ends all others of the pid namespace with its first.
            with contextlib.suppress(psutil.NoSuchProcess):
                self._first.kill()
        # Without a first, bubblewrap has not begun, or is ending: there is nothing to wait long for.
        whole = not self.alive(patience if self._first is not None else 0.5)
        if not whole:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in psutil.Process(self._process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            self._process.kill()
        ended = self._process.wait()
        for reader in self._outputs:
            reader.join(timeout=5)
        return ended >= 0 and whole

    def close(self) -> None:
        """Close the pipes. Call after `end`."""
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes.clear()

    @property
    def output_truncated(self) -> bool:
        """Whether more was printed than is kept, so far."""
        return any(reader.truncated for reader in self._outputs)

    @property
    def printed(self) -> tuple[int, int]:
        """Bytes that came on stdout and stderr, so far."""
        stdout, stderr = self._outputs
        return stdout.printed, stderr.printed


def _filter() -> int:
    """A descriptor from which bubblewrap reads the system call filter."""
    descriptor = os.memfd_create("filter")
    os.write(descriptor, seccomp.program())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _namespace_pids(pid: int) -> list[int]:
    """The process's ids in the nested pid namespaces, outermost (ours) first; empty when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return [int(word) for word in line.split()[1:]]
    return []
