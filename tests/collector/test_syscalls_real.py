"""Real traces by the installed strace with the product's own options, and traces no strace would write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.events import (
    FileDelete,
    FileRead,
    FileRename,
    FileWrite,
    NetworkConnect,
    ProcessExec,
    ProcessExit,
    ProcessStart,
)
from collector.live_processes import ProcessTableBuilder
from collector.manifest import Phase
from collector.syscalls import Trace, read_trace
from sandbox import tracer
from tests.collector.lines import POD

PROGRAM = r"""
import os, socket, subprocess, sys, threading
odd = 'a "b\n>) = \udce9 <x>'
open(odd, "w").close()
os.rename(odd, "plain")
thread = threading.Thread(target=lambda: open("plain").read())
thread.start(); thread.join()
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
peer = socket.create_connection(listener.getsockname())
with open("script.sh", "w") as script:
    script.write("exit 3\n")
subprocess.run(["sh", "script.sh"], stdin=peer)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.sendto(b'q\0"\xff', ("127.0.0.1", 9))
os.unlink("plain")
try:
    open("/proc/self/nothing")
except OSError:
    pass
if os.fork() == 0:
    os.kill(os.getpid(), 9)
os.wait()
thread = threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "exit 5"]))
thread.start(); thread.join()
"""


def traced(directory: Path, command: list[str], root: list[str], *, status: int) -> tuple[Trace, ProcessTableBuilder]:
    output = directory / "trace"
    strace = shutil.which("strace")
    assert strace is not None
    done = subprocess.run(
        tracer.command(strace, output, command), cwd=directory, check=False, timeout=300, stdin=subprocess.DEVNULL
    )
    assert done.returncode == status
    table = ProcessTableBuilder()
    phase = Phase(name="import", status="completed", argv=tuple(root))
    with output.open("rb") as lines:
        return read_trace(phase, "trace", lines, table), table


def test_a_real_program(tmp_path: Path) -> None:
    python = str(Path(sys.executable).resolve())
    command = [python, "-I", "-S", "-c", PROGRAM]
    trace, table = traced(tmp_path, command, command, status=5)
    assert (trace.counts.unparsed, trace.root_seen, trace.orphans) == (0, True, 0)
    where = str(tmp_path)
    odd = f'{where}/a "b\n>) = \\xe9 <x>'
    events = trace.events
    root = events[0]
    assert isinstance(root, ProcessExec)
    assert (root.image, root.argv) == (python, tuple(command))
    assert [event.path for event in events if isinstance(event, FileWrite) and event.path.startswith(where)] == [
        odd,
        f"{where}/script.sh",
    ]
    assert [(event.old, event.path) for event in events if isinstance(event, FileRename)] == [(odd, f"{where}/plain")]
    assert [event.pid for event in events if isinstance(event, FileRead) and event.path == f"{where}/plain"] == [
        root.pid
    ]
    assert [event.path for event in events if isinstance(event, FileDelete)] == [f"{where}/plain"]
    assert [event.errno for event in events if isinstance(event, FileRead) and event.path.endswith("nothing")] == [
        "ENOENT"
    ]
    (dial,) = [event for event in events if isinstance(event, NetworkConnect)]
    (shell,) = [event for event in events if isinstance(event, ProcessExec) and not event.errno and event.parent]
    assert shell.argv == ("sh", "script.sh")
    assert (shell.parent, shell.stdio, shell.origin, shell.cwd) == (
        root.pid,
        f"{dial.ip}:{dial.port}",
        "written",
        where,
    )
    assert next(event.pid for event in events if isinstance(event, ProcessStart)) == shell.pid
    ends = {event.pid: (event.code, event.signal) for event in events if isinstance(event, ProcessExit)}
    assert ends[shell.pid] == (3, "")
    assert ends[root.pid] == (5, "")
    assert sorted(ends.values()) == [(0, "SIGKILL"), (3, ""), (5, "")]
    assert [(send.pid, send.ip, send.port, send.payload) for send in trace.sends] == [
        (root.pid, "127.0.0.1", 9, b'q\0"\xff')
    ]
    own = table.build().get(root.pid)
    assert own is not None
    assert own.executions[-1].argv == ("sh", "-c", "exit 5")


def test_a_real_bubblewrap_is_told_from_what_it_runs(tmp_path: Path) -> None:
    bubblewrap = shutil.which("bwrap")
    assert bubblewrap is not None
    root = ["/bin/sh", "-c", "cd /; (kill 1; exit 4); kill -TERM $$"]
    sandbox = [bubblewrap, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--dev", "/dev", "--chdir", "/usr"]
    trace, table = traced(tmp_path, [*sandbox, "--", *root], root, status=128 + 15)
    assert (trace.counts.unparsed, trace.root_seen, trace.orphans) == (0, True, 0)
    first = trace.events[0]
    assert isinstance(first, ProcessExec)
    assert (first.argv, first.cwd, first.parent) == (tuple(root), "/usr", 0)
    kinds = [type(event).__struct_config__.tag for event in trace.events]
    assert "kernel.call" not in kinds
    access = [event for event in trace.events if type(event).__struct_config__.tag == "process.access"]
    assert len(access) == 1
    (child,) = [event for event in trace.events if isinstance(event, ProcessStart)]
    assert (access[0].pid, child.parent) == (child.pid, first.pid)
    assert {process.pid for process in table.build()} == {first.pid, child.pid}


LINES = st.sampled_from(
    [
        "vfork( <unfinished ...>",
        "<... vfork resumed>) = 3 /* 21 in strace's PID NS */",
        "<... vfork resumed>) = 3",
        "clone(child_stack=NULL, flags=CLONE_THREAD) = 4 /* 22 in strace's PID NS */",
        "clone(child_stack=NULL, flags=SIGCHLD) = 5 /* 20 in strace's PID NS */",
        "clone3({flags=CLONE_NEWPID}, 88) = 6 /* 23 in strace's PID NS */",
        "clone3(0x7f, 88) = 6 /* 23 in strace's PID NS */",
        'execve("/tmp/x", ["x"], NULL) = 0',
        'execve("/proc/self/fd/3", [0x1, ...], NULL <pid changed to 20 ...>',
        "<... execve resumed>) = 0",
        'openat(AT_FDCWD</tmp>, "x", O_RDWR|O_CREAT) = 3</tmp/x>',
        'openat(AT_FDCWD</tmp>, "/proc/3/mem", O_RDWR) = 3<',
        "openat(NULL, NULL, NULL) = 3",
        'rename("/tmp", "/tmp/x/y") = 0',
        'rename("/tmp/x", "/tmp") = 0',
        'symlink("x", "/tmp/x") = 0',
        "dup2(3<TCP:[1]>, 0) = 0",
        "dup2(3<TCP:[x->y:z]>, 0) = 0",
        'connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(99999999), sin_addr=inet_addr("x")}, 16) = 0',
        "sendmsg(3<UDP:[1]>, {msg_iov=[1]}, 0) = 0",
        "sendmmsg(3, [1, {msg_hdr={}}], 0) = 0",
        "kill(-5, SIGKILL) = 0",
        "ptrace(1, 2, 3, 4) = 0",
        "chdir(x) = 0",
        "+++ exited with 0 +++",
        "+++ killed by SIGKILL +++",
    ]
) | st.text(st.characters(codec="latin-1", exclude_characters="\n\r"), max_size=30)


@given(st.lists(st.tuples(st.sampled_from([19, 20, 21, 22, 23]), LINES), max_size=30), st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_trace_is_an_error_and_none_is_half_counted(lines: list[tuple[int, str]], with_pod: bool) -> None:
    text = (POD if with_pod else "") + "".join(f"{pid} {number}.5 {line}\n" for number, (pid, line) in enumerate(lines))
    table = ProcessTableBuilder()
    rows = text.encode("latin-1").split(b"\n")
    trace = read_trace(
        Phase(name="import", status="completed", argv=("/usr/bin/python3", "-c", "pass")), "t", rows, table
    )
    assert trace.counts.lines == sum(row != b"" for row in rows)
    assert (trace.counts.first_unparsed_line is None) == (trace.counts.unparsed == 0)
    assert trace.root_seen or not trace.events
    assert list(trace.events) == sorted(trace.events, key=lambda event: event.ts)
    assert {event.pid for event in trace.events} <= {process.pid for process in table.build()}
