"""Real traces: programs run under the installed strace with the product's own options."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from collector.live_processes import ProcessTableBuilder
from collector.manifest import Phase
from collector.syscalls import Trace, read_trace
from sandbox import tracer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PYTHON = "/usr/bin/python3"
"""The system's own: it starts with a small, known number of calls."""


def run(directory: Path, command: Sequence[str], *, status: int, options: Sequence[str] = tracer.OUTSIDE) -> Path:
    """Runs a command in a directory, traced, and gives the trace."""
    output = directory / "trace"
    strace = shutil.which("strace")
    assert strace is not None
    done = subprocess.run(
        tracer.command(strace, output, command, options=options),
        cwd=directory,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status
    return output


def read(lines: Sequence[bytes], root: Sequence[str]) -> tuple[Trace, ProcessTableBuilder]:
    """Reads a trace in which `root` is the phase's command; every line must be understood."""
    table = ProcessTableBuilder()
    trace = read_trace(Phase(name="import", status="completed", argv=tuple(root)), "trace", lines, table)
    assert (trace.counts.unparsed, trace.root_seen, trace.root_ended, trace.orphans) == (0, True, True, 0)
    return trace, table
