"""A run in which there is too much of something: what is followed is bounded, and the run says what was not."""

from __future__ import annotations

import pytest

from collector.allowance import MOST, Allowance, Sort
from collector.attribution import attribute
from collector.events import NetworkConnect, ProcessExec, ProcessStart
from collector.live_processes import ProcessTableBuilder
from collector.manifest import Phase
from tests.collector.bundles import make_manifest
from tests.collector.lines import ROOT, call, read

PEER = 'sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr("192.0.2.7")'


def forked(inner: int, outer: int) -> str:
    return f"clone(child_stack=NULL, flags=SIGCHLD) = {inner} /* {outer} in strace's PID NS */"


def execve(path: str, name: str) -> str:
    return f'execve("{path}", ["{name}"], 0x7ff /* 9 vars */) = 0'


def write(path: str) -> str:
    return f'openat(AT_FDCWD</home/dev>, "{path}", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3<{path}>'


def allowing(sort: Sort, most: int) -> Allowance:
    return Allowance({**MOST, sort: most})


def test_processes_beyond_the_allowance_have_events_and_no_place_in_the_tree() -> None:
    allowance = allowing("processes", 4)  # two of the pod, the root, one more
    table = ProcessTableBuilder(allowance)
    trace = read(
        [
            call(20, 1, forked(3, 21)),
            call(20, 2, forked(4, 22)),
            call(22, 3, forked(5, 23)),
            call(22, 4, "+++ exited with 0 +++"),
            call(23, 5, execve("/bin/sh", "sh")),
            call(23, 6, forked(6, 24)),
            call(24, 7, execve("/bin/cat", "cat")),
        ],
        table=table,
    )
    assert [event.parent for event in trace.events if isinstance(event, ProcessStart)] == [20, 20, 22, 23]
    assert [event.image for event in trace.events if isinstance(event, ProcessExec)][1:] == ["/bin/sh", "/bin/cat"]
    rows = table.build()
    assert [(row.pid, row.children) for row in rows] == [(20, (21,)), (21, ())]
    [told] = allowance.exceeded()
    assert told == "the run had more processes than have a place in the tree (4): 3 are not followed"
    manifest = make_manifest((Phase(name="import", status="completed", argv=ROOT),))
    assert {event.actor for event in attribute(trace.events, rows, manifest)} == {"target"}


def test_of_programs_beyond_the_allowance_the_last_is_known() -> None:
    allowance = allowing("programs", 2)
    table = ProcessTableBuilder(allowance)
    images = [f"/bin/{number}" for number in range(5)]
    trace = read([call(20, number, execve(image, "x")) for number, image in enumerate(images)], table=table)
    assert [event.image for event in trace.events if isinstance(event, ProcessExec)][1:] == images
    row = table.build().get(20)
    assert row is not None
    assert [(one.image, one.argv) for one in row.executions] == [(ROOT[0], ROOT), ("/bin/4", ())]
    assert "executed programs" in " ".join(allowance.exceeded())


def test_files_beyond_the_allowance_are_written_by_nobody_known() -> None:
    allowance = allowing("written files", 2)
    trace = read(
        [
            call(20, 1, write("/tmp/a")),
            call(20, 2, write("/tmp/b")),
            call(20, 3, write("/tmp/c")),
            *(call(20, 4 + at, execve(f"/tmp/{name}", name)) for at, name in enumerate("abc")),
            call(20, 8, 'unlink("/tmp/a") = 0'),
            call(20, 9, write("/tmp/d")),
            call(20, 10, execve("/tmp/d", "d")),
        ],
        table=ProcessTableBuilder(allowance),
    )
    origins = [event.origin for event in trace.events if isinstance(event, ProcessExec)]
    assert origins[1:] == ["written", "written", "", "written"]
    assert "written files" in " ".join(allowance.exceeded())


def test_connections_packets_and_sockets_beyond_the_allowance_have_their_events() -> None:
    allowance = Allowance({**MOST, "connections": 1, "packets": 1, "sockets": 1})
    trace = read(
        [
            call(20, 1, f"connect(3<TCP:[1]>, {{{PEER.format(80)}}}, 16) = 0"),
            call(20, 2, f"connect(4<TCP:[2]>, {{{PEER.format(81)}}}, 16) = 0"),
            call(20, 3, f'sendto(5<UDP:[3]>, "a", 1, 0, {{{PEER.format(53)}}}, 16) = 1'),
            call(20, 4, f'sendto(5<UDP:[3]>, "b", 1, 0, {{{PEER.format(54)}}}, 16) = 1'),
        ],
        table=ProcessTableBuilder(allowance),
    )
    assert [event.port for event in trace.events if isinstance(event, NetworkConnect)] == [80, 81]
    assert ([event.port for event in trace.connects], [send.port for send in trace.sends]) == ([80], [53])
    assert len(allowance.exceeded()) == 3


@pytest.mark.parametrize("sort", MOST)
def test_each_sort_has_a_sentence(sort: Sort) -> None:
    allowance = allowing(sort, 1)
    assert (allowance.takes(sort), allowance.takes(sort), allowance.takes(sort)) == (True, False, False)
    [told] = allowance.exceeded()
    assert told.endswith("(1): 2 are not followed")
    allowance.release(sort)
    assert allowance.takes(sort)


def test_a_usual_run_exceeds_nothing() -> None:
    allowance = Allowance()
    read([call(20, 1, forked(3, 21)), call(21, 2, write("/tmp/a"))], table=ProcessTableBuilder(allowance))
    assert allowance.exceeded() == ()
