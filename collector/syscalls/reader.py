"""Reads one phase's trace: lines of the usual form at once, all others by the tokenizer and the calls' handlers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec import structs

from collector.brief import Brief
from collector.events import Source
from collector.strace import Familiar, Joiner
from collector.syscalls.item_reader import ItemReader
from collector.syscalls.step import Output
from collector.syscalls.usual import IDLE, UsualCalls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.live_processes import LiveProcess, ProcessTableBuilder
    from collector.manifest import Phase
    from collector.syscalls.trace import Trace
    from collector.syscalls.usual import Usual

_DIGITS: Final = 11
"""More than the number of a thread has."""
_MOMENT, _POINT, _DOT = 20, 10, ord(".")
"""A moment has so many bytes at most, and its point there."""
_NO_LINE: Final = b"\n"
"""Begins no line."""


def read_trace(
    phase: Phase,
    source_name: str,
    lines: Iterable[bytes],
    table: ProcessTableBuilder,
    *,
    linger_started: float = math.inf,
) -> Trace:
    """Turns one phase's trace into events.

    Nothing is emitted for the pod's own set-up: the processes before (and beside) the one that executes exactly
    `phase.argv`. Errors are never raised for what a trace holds; what is not understood is counted.

    Args:
        phase: the phase, of which `name` and `argv` are used.
        source_name: the trace's name in the bundle, e.g. `traces/install.strace.zst`.
        lines: the uncompressed trace.
        table: the run's processes and written files, shared by the phases, which must come in their order.
        linger_started: when phase `linger` began, in seconds since the epoch; later events belong to it.
    """
    out = Output(phase.name, source_name, table, linger_started)
    items = ItemReader(phase, out)
    _LineReader(out, items).read(lines)
    return items.finish()


class _LineReader:
    """Goes through the lines of a trace."""

    def __init__(self, out: Output, items: ItemReader) -> None:
        self._out = out
        self._items = items
        self._usual = UsualCalls(out.phase, out.source)
        self._joiner = Joiner(self._usual.knows)

    def read(self, lines: Iterable[bytes]) -> None:
        """Takes the lines of the trace."""
        usual, linger = self._usual, self._out.linger
        begins, process = _NO_LINE, None
        number = unusual = 0
        for number, line in enumerate(lines, 1):
            if not line.startswith(begins):
                begins, process = self._turn(line)
            if process is not None:
                ts, _, text = line[len(begins) :].partition(b" ")
                known = usual.get(text) or usual.learn(text)
                if (
                    known is not None
                    and _POINT + 1 < len(ts) <= _MOMENT
                    and ts[_POINT] == _DOT
                    and ts.replace(b".", b"", 1).isdigit()
                    and (moment := float(ts)) < linger
                ):
                    if known is not IDLE:
                        self._opened(known, process, moment, number)
                    continue
            unusual += 1
            self._unusual(number, line)
            # What was known of the thread may have changed.
            begins, process = _NO_LINE, None
        self._items.lines += number - unusual
        for item in self._joiner.rest():
            self._items.take(item)

    def _turn(self, line: bytes) -> tuple[bytes, LiveProcess | None]:
        """How the lines of another thread begin, and its process.

        The latter is None when they have to be read with more care: it is not the package's, or a call is in flight.
        """
        pid, _, rest = line.partition(b" ")
        if not pid.isdigit() or pid in self._joiner.pending:
            return _NO_LINE, None
        process = self._out.table.live.get(int(pid[:_DIGITS]))
        if process is None or not process.ours:
            return _NO_LINE, None
        return line[: len(line) - len(rest.lstrip(b" "))], process

    def _opened(self, known: Usual, process: LiveProcess, moment: float, line: int) -> None:
        """Takes an open in its usual form."""
        process.cwd = known.cwd
        if (given := known.number) is not None:
            process.descriptors[given] = known.path
            if known.closes:
                process.closing.add(given)
            else:
                process.closing.discard(given)
        pending = self._out.events
        if known.reading is not None:
            pending.append(Brief(moment, process.pid, line, known.reading))
        if (write := known.write) is not None:
            source = Source(self._out.source, line)
            pending.append(structs.replace(write, ts=moment, pid=process.pid, source=source))
            if not write.errno:
                self._out.table.written.add(write.path, process.pid, moment, self._out.phase)
        if len(pending) >= self._out.order.run:
            self._items.settle_events()

    def _unusual(self, number: int, line: bytes) -> None:
        """Takes a line that has to be read as a whole."""
        for item in self._joiner.items(number, line):
            if isinstance(item, Familiar):
                self._familiar(item)
            elif self._items.take(item) and item.line == number:
                self._usual.idle(line.partition(b" ")[2].lstrip(b" ").partition(b" ")[2])
        if len(self._out.events) >= self._out.order.run:
            self._items.settle_events()

    def _familiar(self, call: Familiar) -> None:
        """Takes a call in its usual form that another process's lines have interrupted."""
        process, known = self._out.table.live.get(call.pid), self._usual.get(call.text)
        if process is None or not process.ours or known is None or call.ts >= self._out.linger:
            self._items.take(self._joiner.read(call))
            return
        self._items.lines += 2
        if known is not IDLE:
            self._opened(known, process, call.ts, call.line)
