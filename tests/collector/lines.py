"""A pod's set-up as strace writes it, with lines to follow, read into events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.live_processes import ProcessTableBuilder
from collector.manifest import Phase
from collector.syscalls import Trace, read_trace
from collector.text import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.events import AnyEvent

SOURCE = "traces/import.strace.zst"
ROOT = ("/usr/bin/python3", "-c", "pass")
START = 1795347409.0

POD = """\
18    1795347409.716724 execve("/usr/bin/prlimit", ["prlimit", "--core=0", "bwrap"], 0x7fff670ba7c0 /* 42 vars */) = 0
18    1795347409.717724 execve("/usr/bin/bwrap", ["bwrap", "--unshare-user", "--"], 0x7fff670ba7c0 /* 42 vars */) = 0
18    1795347409.718000 openat(AT_FDCWD</stage>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>
18    1795347409.718411 clone(child_stack=NULL, flags=CLONE_NEWNS|CLONE_NEWUSER|CLONE_NEWPID|SIGCHLD) = 19
19    1795347409.719000 mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID|MS_NODEV, NULL) = 0
19    1795347409.720000 pivot_root("/tmp", "oldroot") = 0
19    1795347409.721000 symlink("/proc/self/fd", "/newroot/dev/fd") = 0
19    1795347409.722000 chdir("/home/dev") = 0
19    1795347409.723730 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f2eb3bdf490) = 2 \
/* 20 in strace's PID NS */
20    1795347409.728208 execve("/usr/local/bin/python3", ["/usr/bin/python3", "-c", "pass"], 0x7ff /* 9 vars */) = -1 \
ENOENT (No such file or directory)
20    1795347409.728915 execve("/usr/bin/python3", ["/usr/bin/python3", "-c", "pass"], 0x7ff /* 9 vars */) = 0
"""
"""The pod's set-up, real but for its length: 18 is bubblewrap, 19 its first process inside, 20 the phase's root."""


def call(pid: int, ms: int, text: str) -> str:
    """A line of a trace, `ms` milliseconds after the root began."""
    return f"{pid:<5} {START + 1 + ms / 1000:.6f} {text}\n"


def read(  # noqa: PLR0913 - all but the lines are the exception
    lines: Iterable[str] | str,
    *,
    pod: str = POD,
    argv: tuple[str, ...] = ROOT,
    table: ProcessTableBuilder | None = None,
    phase: str = "import",
    linger_started: float = float("inf"),
) -> Trace:
    """Reads the pod's set-up followed by these lines."""
    text = pod + "".join(lines)
    return read_trace(
        Phase(name=phase, status="completed", argv=argv),
        SOURCE,
        text.encode("latin-1").splitlines(keepends=True),
        ProcessTableBuilder() if table is None else table,
        linger_started=linger_started,
    )


def told(events: Iterable[AnyEvent]) -> list[dict[str, object]]:
    """Events as plain data without time, phase, source and actor; the first (the root's own exec) is left out."""
    rows = []
    for event in tuple(events)[1:]:
        row = msgspec.to_builtins(event)
        rows.append({key: value for key, value in row.items() if key not in {"ts", "phase", "source"}})
        assert row["kind"] == kind_of(event)
    return rows
