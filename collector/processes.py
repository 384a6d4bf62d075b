"""The processes of a run: who began whom, what each executed and when."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import msgspec

from collector.events import Source
from collector.written_files import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Execution(msgspec.Struct, frozen=True):
    """A program that a process executed with success."""

    ts: float
    image: str
    argv: tuple[str, ...]
    cwd: str
    source: Source | None = None
    stdio: str = ""
    """`ip:port` when standard input, output or error was a connected internet socket."""
    origin: str = ""
    """As in `events.ProcessExec`: `written`, `memory` or empty."""
    written: Written | None = None
    """Who wrote the program (or the script), when `origin` is `written`."""


class Process(msgspec.Struct, frozen=True):
    """One process; its threads count as itself."""

    pid: int
    """As the tracer sees it. The kernel may use a pid again: then several rows share it."""
    parent: int
    """The process that forked it; 0 for a phase's root and when the parent was not seen."""
    phase: str
    started: float
    ended: float | None
    """None when it outlived its trace."""
    inherited: Execution | None
    """What its parent was executing when it forked."""
    executions: tuple[Execution, ...]
    children: tuple[int, ...]
    """Pids in the order in which they began."""
    code: int = 0
    signal: str = ""

    def execution(self, ts: float) -> Execution | None:
        """What the process was executing at a time, None when that was not seen."""
        position = bisect.bisect_right(self.executions, ts, key=lambda execution: execution.ts)
        return self.executions[position - 1] if position else self.inherited


class ProcessTable:
    """Every process of the run that the package's phases began; the pod's own are not in it."""

    def __init__(self, rows: Iterable[Process] = ()) -> None:
        self._rows = tuple(sorted(rows, key=lambda row: (row.started, row.pid)))
        self._by_pid: dict[int, list[Process]] = {}
        for row in self._rows:
            self._by_pid.setdefault(row.pid, []).append(row)
        self._branches: dict[int, Process] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, pid: int, ts: float | None = None) -> Process | None:
        """The process with this pid that lived at `ts` (seconds since the epoch); the last one without `ts`."""
        rows = self._by_pid.get(pid)
        if rows is None:
            return None
        if ts is None:
            return rows[-1]
        # A child's first call may be written before its parent's fork returned: then the first row is meant.
        return rows[max(bisect.bisect_right(rows, ts, key=lambda row: row.started) - 1, 0)]

    def execution(self, pid: int, ts: float) -> Execution | None:
        """What a process was executing at a time: its own last exec or what it inherited."""
        process = self.get(pid, ts)
        return None if process is None else process.execution(ts)

    def ancestors(self, pid: int, ts: float | None = None) -> tuple[Process, ...]:
        """The processes above this one, nearest first, up to the phase's root."""
        line: dict[int, Process] = {}
        process = self.get(pid, ts)
        while process is not None and id(process) not in line:
            line[id(process)] = process
            process = self.get(process.parent, process.started) if process.parent else None
        return tuple(line.values())[1:]

    def branch(self, pid: int, ts: float | None = None) -> Process | None:
        """The process at the top of this one's subtree: the child of the phase's root that it descends from.

        The root is its own. Each process is asked for its parent once, however many are asked about.
        """
        line: list[Process] = []
        seen: set[int] = set()
        process = self.get(pid, ts)
        found = None
        while process is not None and id(process) not in seen:
            if (found := self._branches.get(id(process))) is not None:
                break
            seen.add(id(process))
            line.append(process)
            process = self.get(process.parent, process.started) if process.parent else None
        if found is None and line:
            root = line.pop()
            found = line[-1] if line else root
        # The root is not remembered: it is the top of its own subtree only.
        self._branches.update({id(row): found for row in line if found is not None})
        return found
