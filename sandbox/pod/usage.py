"""What the processes of one phase use of the machine, looked at from outside: sums over a tree of processes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from sandbox.pod.interface import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

_GONE = (psutil.Error, OSError, RuntimeError, ValueError)
"""What psutil raises of a process that ends while it is read, and of a file that the kernel does not let us read."""
_PRECISE_EVERY = 1.0
"""Seconds between two precise counts: each walks all page tables of the phase."""


class _Own(msgspec.Struct):
    """What one process was last seen to have used."""

    process: psutil.Process
    cpu: float = 0.0


class Meter:
    """Adds up one phase's processes at each call of `take`."""

    def __init__(self, phase: str) -> None:
        """Begin with nothing.

        Args:
            phase: Its name.
        """
        self._phase = phase
        self._seen: dict[int, _Own] = {}
        self._ended = 0.0
        self._cpu = 0.0
        self._read = self._written = 0
        self._precise = -_PRECISE_EVERY
        self.tasks = 0
        """Processes and threads at the last sample, zombies too: what the kernel counts for RLIMIT_NPROC."""

    def take(self, first: int) -> Sample:
        """Look at the processes.

        Args:
            first: Process 1 of the package's pid namespace, by its id on this machine; 0 when there is none yet.
        """
        living: dict[int, _Own] = {}
        inherited, rss, count, read, written = 0.0, 0, 0, 0, 0
        self.tasks = 0
        for pid, tasks in _tree(first):
            self.tasks += tasks
            with contextlib.suppress(*_GONE):
                own = self._seen.get(pid) or _Own(psutil.Process(pid))
                with own.process.oneshot():
                    times = own.process.cpu_times()
                    if times.user + times.system < own.cpu:
                        # Another process with the number of one that has ended.
                        self._ended += own.cpu
                        own = _Own(psutil.Process(pid))
                    own.cpu = times.user + times.system
                    living[pid] = own
                    inherited += own.cpu + times.children_user + times.children_system
                    if pid == first:
                        continue
                    # A main thread that has ended makes a zombie of a process whose other threads go on.
                    count += own.process.status() != psutil.STATUS_ZOMBIE or tasks > 1
                    rss += own.process.memory_info().rss
                    used = own.process.io_counters()
                    read, written = read + used.read_chars, written + used.write_chars
        self._ended += sum(own.cpu for pid, own in self._seen.items() if pid not in living)
        self._seen = living
        # Parents inherit the time of children that they wait for; of others what was seen last counts.
        self._cpu = max(self._cpu, inherited, self._ended + sum(own.cpu for own in living.values()))
        self._read, self._written = max(self._read, read), max(self._written, written)
        return Sample(
            ts=time.time(),
            phase=self._phase,
            processes=count,
            cpu_seconds=round(self._cpu, 3),
            rss_bytes=rss,
            read_bytes=self._read,
            written_bytes=self._written,
        )

    def shared_out(self) -> int | None:
        """Memory of the processes of the last sample, with each shared page counted once (PSS), in bytes.

        Forks share most of their memory, so that the sum of what is resident can be many times what is used. This is
        the true count; it is dear, and so it is made once a second at most.

        Returns:
            None when it was made just before.
        """
        if time.monotonic() - self._precise < _PRECISE_EVERY:
            return None
        total = 0
        for own in self._seen.values():
            with contextlib.suppress(*_GONE):
                resident = own.process.memory_info().rss
                try:
                    total += own.process.memory_full_info().pss
                except psutil.AccessDenied:
                    total += resident
        self._precise = time.monotonic()
        return total


def tasks_below(first: int) -> int:
    """Processes and threads of a process and all below it."""
    return sum(tasks for _, tasks in _tree(first))


def _tree(first: int) -> Iterator[tuple[int, int]]:
    """Each process from `first` down, with its number of threads; what ends meanwhile may be missed."""
    pending = [first] if first else []
    seen: set[int] = set()
    while pending:
        pid = pending.pop()
        if pid in seen:
            continue
        seen.add(pid)
        tasks = 0
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                tasks += 1
                with contextlib.suppress(OSError):
                    pending += map(int, (task / "children").read_text(encoding="ascii").split())
        if tasks:
            yield pid, tasks
