"""Who began whom, in real traces: daemons, orphans, threads, programs that replace themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.events import FileRead, FileWrite, ProcessExec, ProcessExit, ProcessStart
from tests.collector.real import PYTHON, read, run

if TYPE_CHECKING:
    from collector.processes import ProcessTable
    from collector.syscalls import Trace

PROGRAM = r"""
import os, subprocess, sys, threading, time

def mark(name):
    open(f"mark-{name}", "w").close()

def daemon():
    # Forks twice; both parents are gone before the grandchild acts, whom the kernel gives to another.
    if os.fork():
        os._exit(0)
    os.setsid()
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)
    mark("daemon")
    os.execv("/bin/sh", ["sh", "-c", "exec cat mark-daemon", "daemon"])

first = os.fork()
if first == 0:
    daemon()
os.waitpid(first, 0)

if os.fork() == 0:
    os.execv("/bin/sh", ["sh", "-c", "exec sh -c 'cat mark-chain; :'", "chain"])
os.wait()

def in_a_thread():
    if os.fork() == 0:
        mark("of-a-thread"); os._exit(0)
    os.wait()
thread = threading.Thread(target=in_a_thread); thread.start(); thread.join()

subprocess.run(["sh", "-c", "true | (cat mark-chain; true) | true"])
os.posix_spawn("/bin/cat", ["cat", "mark-spawned"], os.environ); os.wait()
threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "cat mark-last; exit 3", "last"])).start()
time.sleep(60)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, ProcessTable]:
    directory = tmp_path_factory.mktemp("tree")
    for name in ("chain", "spawned", "last"):
        (directory / f"mark-{name}").write_text("")
    command = [PYTHON, "-I", "-S", "-c", PROGRAM]
    trace, table = read(run(directory, command, status=3).read_bytes().splitlines(), command)
    return trace, table.build()


def marked(trace: Trace, name: str) -> list[int]:
    kinds = (FileRead, FileWrite)
    return [event.pid for event in trace.events if isinstance(event, kinds) and event.path.endswith(f"/mark-{name}")]


def test_a_daemon_is_below_who_began_it_though_both_are_gone(told: tuple[Trace, ProcessTable]) -> None:
    trace, table = told
    wrote, read_it = marked(trace, "daemon")
    assert wrote == read_it
    moment = next(event.ts for event in trace.events if isinstance(event, FileWrite) and event.pid == wrote)
    above = table.ancestors(wrote)
    assert above[-1].pid == trace.events[0].pid
    assert [row.ended is not None and row.ended < moment for row in above[:-1]] == [True, True]
    executed = [event for event in trace.events if isinstance(event, ProcessExec) and event.pid == wrote]
    assert [event.argv[0] for event in executed if not event.errno] == ["sh", "cat"]
    assert {event.parent for event in executed} == {above[0].pid}


def test_a_program_that_replaces_itself_stays_one_process(told: tuple[Trace, ProcessTable]) -> None:
    trace, table = told
    reader = marked(trace, "chain")[0]
    assert [row.argv[0] for row in table.ancestors(reader)[0].executions] == ["sh", "sh"]
    assert len(table.ancestors(reader)) == 2


def test_what_a_thread_forks_is_its_processs_child(told: tuple[Trace, ProcessTable]) -> None:
    trace, table = told
    (child,) = marked(trace, "of-a-thread")
    assert [row.parent for row in table.ancestors(child)] == [0]


def test_a_spawned_program_has_its_spawner_above_it(told: tuple[Trace, ProcessTable]) -> None:
    trace, table = told
    (child,) = marked(trace, "spawned")
    assert len(table.ancestors(child)) == 1


def test_a_threads_program_takes_the_place_of_the_process(told: tuple[Trace, ProcessTable]) -> None:
    trace, table = told
    (child,) = marked(trace, "last")
    root = trace.events[0].pid
    assert [row.pid for row in table.ancestors(child)] == [root]
    row = table.get(root)
    assert row is not None
    assert [execution.argv[-1] for execution in row.executions] == [PROGRAM, "last"]
    assert row.code == 3


def test_every_process_has_one_beginning_and_one_end(told: tuple[Trace, ProcessTable]) -> None:
    trace, table = told
    begun = [event.pid for event in trace.events if isinstance(event, ProcessStart)]
    ended = [event.pid for event in trace.events if isinstance(event, ProcessExit)]
    assert sorted(ended) == sorted([trace.events[0].pid, *begun])
    assert len(set(ended)) == len(ended) == len(table)
