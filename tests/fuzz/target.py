"""What must hold of any bytes: nothing is raised, and every line that is not empty is accounted for exactly once."""

from __future__ import annotations

from collector.live_processes import ProcessTableBuilder
from collector.manifest import Phase
from collector.strace import Call, parse
from collector.syscalls import read_trace
from collector.text import parse as parse_event
from collector.text import render

ROOT = ("/usr/bin/python3", "-I", "-S", "/tmp/seed.py")
"""The command of the phase that `corpus/program.strace` is a trace of."""
POD = b"""\
4920  1795877284.383581 execve("/usr/bin/bwrap", ["bwrap"], 0x7ffd /* 2 vars */) = 0
4920  1795877284.384960 clone(child_stack=NULL, flags=CLONE_NEWNS|CLONE_NEWUSER|CLONE_NEWPID|SIGCHLD) = 4921
4921  1795877284.395911 clone(child_stack=NULL, flags=SIGCHLD) = 2 /* 4922 in strace's PID NS */
4922  1795877284.404173 execve("/usr/bin/python3", ["/usr/bin/python3", "-I", "-S", "/tmp/seed.py"], NULL) = 0
"""
"""What goes before an input of the second target, so that its lines are the package's."""


def tokenizer(data: bytes) -> None:
    """Reads an input as a trace's lines.

    Raises:
        AssertionError: A line is not accounted for, or twice.
    """
    lines = data.split(b"\n")
    numbers: list[int] = []
    for item in parse(lines):
        numbers.append(item.line)
        if isinstance(item, Call):
            if item.end not in {0, item.line}:
                numbers.append(item.end)
            item.arguments()
            item.descriptor()
    assert sorted(numbers) == [number for number, line in enumerate(lines, 1) if line.rstrip(b"\r")]


def reader(data: bytes) -> None:
    """Reads an input as what a package did, up to the events and their text form.

    Raises:
        AssertionError: A count is wrong, or events are out of order, of an unknown process, or lost in their text form.
    """
    lines = (POD + data).split(b"\n")
    table = ProcessTableBuilder()
    phase = Phase(name="import", status="completed", argv=ROOT)
    trace = read_trace(phase, "traces/import.strace.zst", lines, table)
    counts = trace.counts
    full = {number for number, line in enumerate(lines, 1) if line.rstrip(b"\r")}
    assert counts.lines == len(full)
    assert (counts.first_unparsed_line is None) == (counts.unparsed == 0)
    assert 0 <= counts.unparsed <= counts.lines
    assert trace.root_seen
    assert list(trace.events) == sorted(trace.events, key=lambda event: event.ts)
    assert {event.pid for event in trace.events} <= {process.pid for process in table.build()}
    assert {event.source.line for event in trace.events if event.source is not None} <= full
    for event in {type(event): event for event in trace.events}.values():
        line = render(event)
        assert render(parse_event(line)) == line


TARGETS = {"tokenizer": tokenizer, "reader": reader}
