"""The processes of a run while its traces are read: their descriptors, their threads, what was told of them."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from collector.allowance import Allowance
from collector.processes import Execution, Process, ProcessTable
from collector.written_files import WrittenFiles

STANDARD: Final = range(3)
"""Descriptors of standard input, output and error."""
_MOST_TEXT: Final = 1 << 24
"""Characters of the arguments of all executed programs that are remembered."""


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


class Noted:
    """What has been told of a process and is not told again."""

    __slots__ = ("listening", "sent", "signals")

    def __init__(self) -> None:
        self.sent: set[tuple[Peer, str]] = set()
        """Where it sent packets outside TCP, and with what outcome."""
        self.listening: set[tuple[str, str, int]] = set()
        self.signals: dict[str, int] = {}
        """How many events there are of each signal that reached it."""


class LiveProcess:
    """A process while its trace is read; mutable, for the reader of traces alone."""

    __slots__ = (
        *("_noted", "children", "closing", "code", "cwd", "descriptors", "ended", "executions", "inherited", "listed"),
        *("memory_executed", "memory_files", "may_go_on", "nested", "nests_children", "ours", "parent", "phase"),
        *("pid", "resting", "signal", "started"),
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
        self.may_go_on = False
        """When it ends, a thread of it may go on, or a child may begin whose fork was not seen to return."""
        self.resting = False
        """It does nothing any more; its tables are shared with others."""
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
        self._noted: Noted | None = None
        self.memory_executed = 0
        """How many events there are of memory that it made executable."""
        self.memory_files: bool = parent.memory_files if parent else False
        """It, or the process it was forked from, had made a memfd."""

    @property
    def current(self) -> Execution | None:
        """What it executes now."""
        return self.executions[-1] if self.executions else self.inherited

    @property
    def noted(self) -> Noted:
        """What is told of it only once; made when it is asked for, since most processes need none."""
        if self._noted is None:
            self._noted = Noted()
        return self._noted

    def rest(self, descriptors: dict[int, Known], closing: set[int]) -> None:
        """It does nothing any more.

        Args:
            descriptors: All that its children may still be asked about.
            closing: As of all who rest.
        """
        self.descriptors, self.closing, self._noted, self.resting = descriptors, closing, None, True

    def share_descriptors(self, other: LiveProcess) -> None:
        """Both have one table from now on (CLONE_FILES)."""
        if not other.resting:
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
        self._standard: dict[int, Known] = {}
        """Standard input, output and error of the process that ended last: most have the same."""
        self._nothing: set[int] = set()
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
            self._rests(process)
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
        process.may_go_on = True
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
        self._rests(process)
        if not process.listed:
            self.latest.pop(tid, None)
        return process

    def _rests(self, process: LiveProcess) -> None:
        if process.may_go_on:
            return
        standard = {number: process.descriptors[number] for number in STANDARD if number in process.descriptors}
        if standard != self._standard:
            self._standard = standard
        process.rest(self._standard, self._nothing)

    def build(self) -> ProcessTable:
        """The table of what has been read so far, without the pod's own processes."""
        return ProcessTable(process.row() for process in self._all if process.ours)
