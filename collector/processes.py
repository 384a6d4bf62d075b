"""The processes of a run: who began whom, what each executed and when."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from collector.allowance import Allowance
from collector.events import Source
from collector.written_files import Written, WrittenFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "STANDARD",
    "Execution",
    "Known",
    "LiveProcess",
    "Peer",
    "Process",
    "ProcessTable",
    "ProcessTableBuilder",
    "Socket",
    "Written",
    "WrittenFiles",
]

STANDARD: Final = range(3)
"""Descriptors of standard input, output and error."""
_MOST_TEXT: Final = 1 << 24
"""Characters of the arguments of all executed programs that are remembered."""


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


class Peer(msgspec.Struct, frozen=True):
    """The far end of a socket."""

    ip: str
    port: int
    protocol: str


class Socket(msgspec.Struct, frozen=True):
    """A socket that was not connected when it was last seen."""

    name: bytes
    """As strace prints it, e.g. `TCP:[4711]`: the same in every process that holds the socket."""


Known: TypeAlias = str | Peer | Socket
"""What a descriptor is: a path, a connected socket, another socket."""


class LiveProcess:
    """A process while its trace is read; mutable, for the reader of traces alone."""

    __slots__ = (
        *("children", "closing", "code", "cwd", "descriptors", "ended", "executions", "inherited", "listed"),
        *("listening", "memory_executed", "memory_files", "nested", "nests_children", "ours", "parent", "phase"),
        *("pid", "sent", "signal", "signals", "started", "threads"),
    )

    def __init__(self, pid: int, parent: LiveProcess | None, phase: str, started: float) -> None:
        self.pid = pid
        self.parent = parent
        self.phase = phase
        self.started = started
        self.ended: float | None = None
        self.code = 0
        self.signal = ""
        self.listed = True
        """It has a place in the table."""
        self.threads = False
        """It began threads."""
        self.executions: list[Execution] = []
        self.children: list[int] = []
        self.cwd: str = parent.cwd if parent else ""
        self.inherited: Execution | None = parent.current if parent else None
        self.ours: bool = parent is None or parent.ours
        """Belongs to the package's phase, not to the pod's set-up."""
        self.nested: bool = parent is not None and parent.nests_children
        """Lives in a pid namespace below the tracer's."""
        self.nests_children: bool = self.nested
        self.descriptors: dict[int, Known] = dict(parent.descriptors) if parent else {}
        """What the last traced call made of a descriptor: the path it opened, the peer it was connected to."""
        self.closing: set[int] = set(parent.closing) if parent else set()
        """Descriptors that an exec closes."""
        # Keys alone: an empty dictionary takes a third of the memory of an empty set, and most stay empty.
        self.sent: dict[tuple[Peer, str], None] = {}
        """Where it sent packets outside TCP, and with what outcome."""
        self.listening: dict[tuple[str, str, int], None] = {}
        self.signals: dict[str, int] = {}
        """How many events there are of each signal that reached it."""
        self.memory_executed = 0
        """How many events there are of memory that it made executable."""
        self.memory_files: bool = parent.memory_files if parent else False
        """It, or the process it was forked from, had made a memfd."""

    @property
    def current(self) -> Execution | None:
        """What it executes now."""
        return self.executions[-1] if self.executions else self.inherited

    def share_descriptors(self, other: LiveProcess) -> None:
        """Both have one table from now on (CLONE_FILES)."""
        self.descriptors, self.closing = other.descriptors, other.closing

    def unshare_descriptors(self) -> None:
        """It has a table of its own again."""
        self.descriptors, self.closing = dict(self.descriptors), set(self.closing)

    def close_on_exec(self) -> None:
        """It executed a program: a table of its own, without what is closed then.

        Sockets that stand for standard input, output or error stay: `ioctl(FIONCLEX)`, which is not traced, may have
        kept them open, and no other program has them there.
        """
        self.descriptors = {
            number: what
            for number, what in self.descriptors.items()
            if number not in self.closing or (number in STANDARD and not isinstance(what, str))
        }
        self.closing = set()

    def let_go(self) -> None:
        """Forget all but what its children may still be asked about: it does nothing any more."""
        if not self.threads:
            self.descriptors = {number: self.descriptors[number] for number in STANDARD if number in self.descriptors}
            self.closing, self.sent, self.listening, self.signals = set(), {}, {}, {}

    def descends_from(self, other: LiveProcess) -> bool:
        """Whether `other` is this process or one above it."""
        process: LiveProcess | None = self
        while process is not None:
            if process is other:
                return True
            process = process.parent
        return False

    def row(self) -> Process:
        """The finished row."""
        parent = self.parent
        return Process(
            self.pid,
            parent.pid if parent is not None and parent.ours else 0,
            self.phase,
            self.started,
            self.ended,
            self.inherited,
            tuple(self.executions),
            tuple(self.children),
            self.code,
            self.signal,
        )


class ProcessTableBuilder:
    """Collects the processes of all phases of a run; the files they wrote are in `written`."""

    def __init__(self, allowance: Allowance | None = None) -> None:
        """Begin.

        Args:
            allowance: How many processes, programs and files are followed.
        """
        self.allowance = allowance or Allowance()
        self._text_left = _MOST_TEXT
        self.live: dict[int, LiveProcess] = {}
        """The process of each living thread."""
        self.latest: dict[int, LiveProcess] = {}
        """The same with those that have ended."""
        self.inner: dict[int, LiveProcess] = {}
        """The same by the pid inside the phase's own pid namespace, for /proc paths."""
        self.written = WrittenFiles(self.allowance)
        self._all: list[LiveProcess] = []

    def begin_trace(self) -> None:
        """Another tracer begins: no process of an earlier one occurs in its trace."""
        for process in self.live.values():
            process.let_go()
        self.live.clear()
        self.latest.clear()
        self.inner.clear()

    def begin(self, pid: int, parent: LiveProcess | None, phase: str, ts: float) -> LiveProcess:
        """Adds a process; a former one of the same pid must have ended."""
        process = LiveProcess(pid, parent, phase, ts)
        if self.allowance.takes("processes"):
            self._all.append(process)
            if parent is not None:
                parent.children.append(pid)
        else:
            process.listed = False
        if parent is not None and not parent.listed:
            # Else a line of processes that fork and end would keep each of them.
            process.parent = parent.parent
        self.live[pid] = self.latest[pid] = process
        return process

    def within(self, number: int, process: LiveProcess) -> None:
        """A process has this pid in the phase's own namespace."""
        if process.listed:
            self.inner[number] = process
        else:
            self.inner.pop(number, None)

    def adopt(self, tid: int, process: LiveProcess) -> None:
        """A thread belongs to a process."""
        process.threads = True
        self.live[tid] = self.latest[tid] = process

    def executed(self, process: LiveProcess, execution: Execution) -> None:
        """A process executed a program with success."""
        text = sum(map(len, execution.argv))
        if process.listed and self.allowance.takes("programs", room=text <= self._text_left):
            self._text_left -= text
            process.executions.append(execution)
        else:
            # What it runs now is known all the same, without the arguments.
            process.executions[-1:] = [msgspec.structs.replace(execution, argv=())]

    def end(self, tid: int, ts: float, code: int, signal: str) -> LiveProcess | None:
        """A thread ended; returns its process when it was the last (leading) one."""
        process = self.live.pop(tid, None)
        if process is None or process.pid != tid:
            return None
        process.ended, process.code, process.signal = ts, code, signal
        process.let_go()
        if not process.listed:
            self.latest.pop(tid, None)
        return process

    def build(self) -> ProcessTable:
        """The table of what has been read so far, without the pod's own processes."""
        return ProcessTable(process.row() for process in self._all if process.ours)
