"""Takes the items of a trace: each to the process that it is of, and each call to its handler.

Whose process a thread is may be known only later, when the fork that made it returns: until then its items wait.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from collector.events import NetworkConnect, ProcessStart, Source
from collector.strace import Call, Exit, Item, Note, Signal, Unparsed
from collector.syscalls import descriptors, files, forks, kernel, network, opens, privileges, programs, remarks
from collector.syscalls.forks import FORKS
from collector.syscalls.parentage import Parentage
from collector.syscalls.step import Handler, Step, cut
from collector.syscalls.trace import Trace, TraceCounts

if TYPE_CHECKING:
    from collector.live_processes import LiveProcess
    from collector.manifest import Phase
    from collector.syscalls.step import Output

_HANDLERS: Final[dict[str, Handler]] = {
    **opens.HANDLERS,
    **files.HANDLERS,
    **programs.HANDLERS,
    **network.HANDLERS,
    **descriptors.HANDLERS,
    **kernel.HANDLERS,
    **privileges.HANDLERS,
}
_Threaded: TypeAlias = Call | Exit | Signal | Note
_MOST_WAITING: Final = 1 << 15
"""Items that may wait for a fork to return; a fork takes milliseconds."""
_WORKING_DIRECTORY: Final = frozenset({"chdir", "fchdir"})
_IN_ORDER: Final = attrgetter("ts", "source")


class ItemReader:
    """The state of reading one trace."""

    def __init__(self, phase: Phase, out: Output) -> None:
        """Begin a trace.

        Args:
            phase: Of which `argv` is used: what the process executes with which the package's own begin.
            out: Where the events go.
        """
        self._argv = phase.argv
        self._out = out
        self._table = out.table
        self._table.begin_trace()
        self.lines = self._unparsed = self._truncated = self._orphans = 0
        self._first_unparsed: int | None = None
        self._root: LiveProcess | None = None
        self._begun = False
        self._held: dict[int, list[_Threaded]] = {}
        """Items of threads whose fork has not been seen to return yet."""
        self._waiting = 0
        """How many there are."""
        self._parentage = Parentage()
        """Forks whose child is unknown: never returned, or returned a pid nobody translated."""
        self._connects: list[NetworkConnect] = []
        self._foreign: set[int] = set()
        """Threads whose last call came through another interface than x86_64's."""

    def take(self, item: Item) -> bool:
        """Handles an item of the trace; says whether it is a call that leads to nothing, whoever makes it and when."""
        self.lines += 1
        if isinstance(item, Unparsed):
            self._lost(item.line)
            return False
        if not isinstance(item, Call):
            self._drain(deque([item]))
            return False
        # Each line that holds something is the `line` or the `end` of exactly one item.
        if item.end != item.line and item.end:
            self.lines += 1
        process = self._table.live.get(item.pid)
        if process is None or item.name in FORKS:
            self._drain(deque([item]))
            return False
        return self._call(item, process)

    def _drain(self, todo: deque[_Threaded]) -> None:
        """Handles items, and what waited for the threads that they give life to."""
        while todo:
            item = todo.popleft()
            process = self._table.live.get(item.pid)
            if process is None:
                if self._begun:
                    self._hold(item)
                    continue
                # The tracer's first child: the pod's set-up begins.
                self._begun = True
                process = self._table.begin(item.pid, None, self._out.phase, item.ts)
                process.ours = False
            child = self._one(item, process)
            if child is not None:
                held = self._held.pop(child, ())
                self._waiting -= len(held)
                todo.extendleft(reversed(held))

    def _hold(self, item: _Threaded) -> None:
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            self._held.setdefault(item.pid, []).append(item)
        else:
            self._lost(item.line)

    def _one(self, item: _Threaded, process: LiveProcess) -> int | None:
        """Handles one item; returns the thread it gave life to."""
        if isinstance(item, Call):
            if item.name in FORKS:
                return self._fork(Step(item, process, self._out))
            self._call(item, process)
        elif isinstance(item, Exit):
            self._parentage.ended(item.pid, item.ts)
            remarks.ended(item, self._out)
        elif isinstance(item, Note) and item.kind == "abi":
            if remarks.is_native(item):
                self._foreign.discard(item.pid)
            else:
                self._foreign.add(item.pid)
            if process.ours:
                remarks.switched(item, process, self._out)
        elif process.ours and isinstance(item, Signal):
            remarks.delivered(item, process, self._out)
        return None

    def _call(self, call: Call, process: LiveProcess) -> bool:
        """Handles a call; says whether such a one leads to nothing, whoever of the package makes it and when."""
        step = Step(call, process, self._out)
        if not process.ours:
            if self._root is None and programs.is_command(step, self._argv):
                self._root = process
                process.ours, process.started, process.parent = True, call.ts, None
            elif self._root is not None and call.ts > self._root.started and not _harmless(step):
                # By now the pod's own processes only wait. The package may write into the memory of its process 1
                # (docs/threat-model.md): one that acts was taken over, and its acts are the package's.
                process.ours = True
            else:
                self._pod_call(step)
                return False
        handler = _HANDLERS.get(call.name)
        if handler is None:
            if call.name in kernel.IGNORED:
                return False
            handler = kernel.foreign
        understood, shortened = handler(step), cut(step)
        # Only now: a handler that needs no arguments has not looked at them.
        if not understood or step.malformed:
            self._lost(call.line)
        elif shortened:
            self._truncated += 1
        else:
            return step.idle
        return False

    def _pod_call(self, step: Step) -> None:
        """Keeps track of where the pod's set-up stands, since the package's first process inherits it."""
        if step.call.name in _WORKING_DIRECTORY:
            _HANDLERS[step.call.name](step)
        elif step.call.name == "unshare" and b"CLONE_NEWPID" in step.word(0) and step.succeeded:
            step.process.nests_children = True

    def _fork(self, step: Step) -> int | None:
        """A new process or thread; returns its id when known."""
        call, process = step.call, step.process
        flags = forks.flags_of(step)
        if flags is None:
            self._lost(call.line)
            flags = b""
        telling = process.ours and (b"CLONE_NEW" in flags or b"CLONE_UNTRACED" in flags)
        # A call that the pod's filter ends with SIGSYS gives back its own number, which looks like a child's.
        ended = (telling or call.pid in self._foreign) and forks.returns_own_number(call)
        if telling:
            forks.separated(step, flags, "SIGSYS" if ended else None)
        if ended or (telling and call.result is None):
            return None
        if call.errno or (call.result is not None and call.result < 0):
            return None  # Failed, or interrupted: it is then made anew.
        child = call.outer_pid
        if child is None and not process.nested:
            child = call.result
        if child is None:
            if self._parentage.forked(process, call, flags):
                process.may_go_on = True
            return None
        self._parentage.born(child, call)
        self._born(child, call, process, flags)
        return child

    def _born(self, child: int, call: Call, process: LiveProcess, flags: bytes) -> None:
        if b"CLONE_THREAD" in flags:
            self._table.adopt(child, process)
            return
        begun = self._table.begin(child, process, self._out.phase_at(call.ts), call.ts)
        if b"CLONE_FILES" in flags:
            begun.share_descriptors(process)
        if b"CLONE_NEWPID" in flags:
            begun.nested = begun.nests_children = True
            self._table.within(1, begun)
        elif process.nested and call.result is not None:
            self._table.within(call.result, begun)
        if process.ours:
            self._out.events.append(
                ProcessStart(
                    ts=call.ts,
                    phase=self._out.phase_at(call.ts),
                    pid=child,
                    source=Source(self._out.source, call.line),
                    parent=process.pid,
                )
            )

    def _lost(self, line: int) -> None:
        self._unparsed += 1
        if self._first_unparsed is None or line < self._first_unparsed:
            self._first_unparsed = line

    def settle_events(self) -> None:
        """Puts what there is aside, so that memory does not grow with the trace."""
        self._keep_connects()
        self._out.order.settle()

    def _keep_connects(self) -> None:
        self._connects += [
            event
            for event in self._out.events
            if type(event) is NetworkConnect and self._table.allowance.takes("connections")
        ]

    def finish(self) -> Trace:
        """The trace as a whole, once every item was fed."""
        self._parentage.complete()
        for tid in tuple(self._held):
            items = self._held.pop(tid, None)
            if items is not None:
                self._waiting -= len(items)
                self._settle(tid, items)
        self._keep_connects()
        return Trace(
            order=self._out.order,
            connects=tuple(sorted(self._connects, key=_IN_ORDER)),
            counts=TraceCounts(self.lines, self._unparsed, self._truncated, self._first_unparsed),
            sends=tuple(sorted(self._out.sends, key=_IN_ORDER)),
            root_seen=self._root is not None,
            root_ended=self._root is not None and self._root.ended is not None,
            orphans=self._orphans,
        )

    def _settle(self, tid: int, items: list[_Threaded]) -> None:
        """Finds a home for a thread whose fork was never seen to return."""
        began = items[0].ts
        if (fork := self._parentage.fork_of(tid, began)) is not None:
            self._born(tid, fork.call, fork.process, fork.flags)
        elif any(isinstance(item, Call) for item in items):
            self._orphans += 1
            # Better blamed on the package than lost.
            self._table.begin(tid, None, self._out.phase_at(began), began).ours = self._root is not None
        else:
            return
        self._drain(deque(items))


def _harmless(step: Step) -> bool:
    """Whether bubblewrap's process 1 gives up its rights and descriptors so, perhaps after the command's start."""
    call = step.call
    if call.name == "openat":
        return step.text(1) == "self/fd" and step.word(2).startswith(b"O_RDONLY")
    if call.name == "fcntl":
        return step.word(1) in {b"F_GETFL", b"F_GETFD", b"F_SETFD"}
    return call.name == "capset" and privileges.gives_up(call.raw)
