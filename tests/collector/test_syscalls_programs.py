"""Executions: image, arguments, parents, sockets as standard input, and where a program came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.events import ProcessExec
from collector.live_processes import ProcessTableBuilder
from collector.syscalls.programs import MAX_ARGUMENTS, script_of
from tests.collector.lines import ROOT, call, read

if TYPE_CHECKING:
    from collector.syscalls import Trace

ENV = "0x7ff /* 9 vars */"
CWD = "AT_FDCWD</home/dev>"
FORK = "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 21 in strace's PID NS */"
VFORK = "vfork() = 3 /* 21 in strace's PID NS */"
PEER = 'sa_family=AF_INET, sin_port=htons(4444), sin_addr=inet_addr("192.0.2.9")'


def execve(path: str, *argv: str, result: str = "0") -> str:
    listed = ", ".join(f'"{argument}"' for argument in argv)
    return f'execve("{path}", [{listed}], {ENV}) = {result}'


def write(path: str) -> str:
    return f'openat({CWD}, "{path}", O_WRONLY|O_CREAT|O_TRUNC, 0777) = 3<{path}>'


def executions(trace: Trace) -> list[ProcessExec]:
    assert trace.counts.unparsed == 0
    return [event for event in trace.events if isinstance(event, ProcessExec)][1:]


def last(*lines: str) -> ProcessExec:
    return executions(read(call(20, number, line) for number, line in enumerate(lines, 1)))[-1]


def test_an_execution_knows_its_parent() -> None:
    (event,) = executions(read([call(20, 1, FORK), call(21, 2, execve("/bin/sh", "sh", "-c", "true"))]))
    assert (event.pid, event.image, event.argv, event.cwd) == (21, "/bin/sh", ("sh", "-c", "true"), "/home/dev")
    assert (event.parent, event.parent_image, event.parent_argv) == (20, "/usr/bin/python3", ROOT)
    assert (event.errno, event.stdio, event.origin) == ("", "", "")


def test_a_search_along_path_is_told_as_attempts() -> None:
    trace = read(
        [
            call(20, 1, execve("/usr/local/bin/powershell", "powershell", result="-1 ENOENT (No such file)")),
            call(20, 2, 'execve("bin/x", ["x"], 0x7ff /* 9 vars */ <unfinished ...>'),
            call(20, 3, "+++ killed by SIGKILL +++"),
        ]
    )
    assert [(event.image, event.errno) for event in executions(trace)] == [
        ("/usr/local/bin/powershell", "ENOENT"),
        ("/home/dev/bin/x", "UNFINISHED"),
    ]


def test_a_thread_that_executes_is_its_process() -> None:
    thread = "clone3({flags=CLONE_VM|CLONE_THREAD} => {parent_tid=[3]}, 88) = 3 /* 24 in strace's PID NS */"
    trace = read(
        [
            call(20, 1, thread),
            call(24, 2, f'execve("/bin/echo", ["echo"], {ENV} <pid changed to 20 ...>'),
            call(20, 3, "<... execve resumed>) = -1 (errno 18446744073709551359)"),
        ]
    )
    (event,) = executions(trace)
    assert (event.pid, event.image, event.errno) == (20, "/bin/echo", "")


def test_long_argument_lists_and_arguments_are_bounded() -> None:
    event = last(execve("/bin/echo", *["x" * 5000] * 300))
    assert len(event.argv) == MAX_ARGUMENTS
    assert {len(argument) for argument in event.argv} == {4096}


def test_arguments_are_plain_text_whatever_their_bytes() -> None:
    event = last(execve("/bin/echo", r"\303\251", r"\377\"", r"a\nb"))
    assert event.argv == ("é", '\\xff"', "a\nb")


@pytest.mark.parametrize(
    "dup",
    [
        "dup2(5<TCP:[127.0.0.1:4->192.0.2.9:4444]>, 0</dev/null<char 1:3>>) = 0<TCP:[127.0.0.1:4->192.0.2.9:4444]>",
        "dup2(5<TCP:[14691]>, 2</dev/null<char 1:3>>) = 2<TCP:[14691]>",
        "dup3(5<socket:[14691]>, 1, 0) = 1<socket:[14691]>",
    ],
)
def test_a_socket_in_place_of_standard_input_stays_with_the_children(dup: str) -> None:
    trace = read(
        [
            call(20, 1, f"connect(5<TCP:[14691]>, {{{PEER}}}, 16) = 0"),
            call(20, 2, VFORK),
            call(21, 3, dup),
            call(21, 4, execve("/bin/sh", "sh", "-i")),
            call(21, 5, FORK.replace("= 3 /* 21", "= 4 /* 22")),
            call(22, 6, execve("/usr/bin/id", "id")),
            call(20, 7, execve("/bin/true", "true")),
        ]
    )
    assert [(event.pid, event.stdio) for event in executions(trace)] == [
        (21, "192.0.2.9:4444"),
        (22, "192.0.2.9:4444"),
        (20, ""),
    ]


@pytest.mark.parametrize(
    ("parents", "peer"), [("TCP:[127.0.0.1:4->192.0.2.9:4444]", "192.0.2.9:4444"), ("/dev/null", "")]
)
def test_a_terminal_leads_to_the_socket_of_the_parent(parents: str, peer: str) -> None:
    trace = read(
        [
            call(20, 1, f"dup2(5<{parents}>, 0</dev/null<char 1:3>>) = 0<{parents}>"),
            call(20, 2, FORK),
            call(21, 3, f"dup2(6</dev/pts/0<char 136:0>>, 0<{parents}>) = 0</dev/pts/0<char 136:0>>"),
            call(21, 4, execve("/bin/sh", "sh", "-i")),
        ]
    )
    assert [event.stdio for event in executions(trace)] == [peer]


def test_a_socket_that_is_standard_input_from_the_start() -> None:
    assert last(f"connect(0<TCP:[1]>, {{{PEER}}}, 16) = 0", execve("/bin/sh", "sh")).stdio == "192.0.2.9:4444"


def test_an_accepted_socket_is_known_by_its_far_end() -> None:
    dup = "dup2(4<TCPv6:[[::1]:4444->[2001:db8::5]:55555]>, 0) = 0<TCPv6:[[::1]:4444->[2001:db8::5]:55555]>"
    assert last(dup, execve("/bin/sh", "sh")).stdio == "[2001:db8::5]:55555"


@pytest.mark.parametrize(
    "lines",
    [
        (
            f"connect(5<TCP:[1]>, {{{PEER}}}, 16) = -1 ECONNREFUSED (Connection refused)",
            "dup2(5<TCP:[1]>, 0) = 0<TCP:[1]>",
        ),
        (f"connect(0<TCP:[1]>, {{{PEER}}}, 16) = 0", "dup2(5<pipe:[7]>, 0<TCP:[1]>) = 0<pipe:[7]>"),
        (f"connect(5<TCP:[1]>, {{{PEER}}}, 16) = 0", "dup2(5<pipe:[7]>, 0) = 0<pipe:[7]>"),
        (
            f"connect(0<TCP:[1]>, {{{PEER}}}, 16) = 0",
            "dup2(5</dev/null<char 1:3>>, 0<TCP:[1]>) = 0</dev/null<char 1:3>>",
        ),
        (f"connect(5<TCP:[1]>, {{{PEER}}}, 16) = 0", "dup2(5<TCP:[1]>, 9) = 9<TCP:[1]>"),
        ("dup2(5<UNIX-STREAM:[1->2]>, 0) = 0<UNIX-STREAM:[1->2]>",),
    ],
)
def test_other_things_in_place_of_standard_input(lines: tuple[str, ...]) -> None:
    assert last(*lines, execve("/bin/sh", "sh")).stdio == ""


def test_a_program_or_script_that_the_run_wrote() -> None:
    table = ProcessTableBuilder()
    trace = read(
        [
            call(20, 1, FORK),
            call(20, 2, write("/tmp/x")),
            call(21, 3, execve("/tmp/x", "x")),
            call(21, 4, execve("/bin/sh", "sh", "/tmp/x")),
            call(21, 5, execve("/bin/cat", "cat", "/tmp/x")),
        ],
        table=table,
    )
    assert [event.origin for event in executions(trace)] == ["written", "written", ""]
    process = table.build().get(21)
    assert process is not None
    written = process.executions[0].written
    assert written is not None
    assert (written.path, written.pid, written.phase) == ("/tmp/x", 20, "import")
    assert process.executions[2].written is None


@pytest.mark.parametrize(
    ("moves", "program"),
    [
        (('rename("/tmp/x", "/tmp/y") = 0',), "/tmp/y"),
        (('rename("/tmp/x", "/tmp/y") = 0',), None),
        (('rename("/tmp/d", "/tmp/e") = 0',), "/tmp/e/deep/z"),
        ((f'renameat2({CWD}, "/tmp/x", {CWD}, "/bin/y", RENAME_EXCHANGE) = 0',), "/bin/y"),
        ((f'linkat({CWD}, "/tmp/x", {CWD}, "/tmp/y", 0) = 0', 'unlink("/tmp/x") = 0'), "/tmp/y"),
        (('symlink("x", "/tmp/l") = 0',), "/tmp/l"),
        (('symlink("x", "/tmp/l") = 0', 'rename("/tmp/l", "/tmp/m") = 0'), "/tmp/m"),
        (('unlink("/tmp/x") = 0',), None),
        (('rename("/usr/bin/true", "/tmp/x") = 0',), None),
        (('rename("/tmp/x", "/tmp/y") = -1 EPERM (Operation not permitted)',), "/tmp/x"),
        (('symlink("/tmp", "/tmp/d/up") = 0', 'rename("/tmp/d", "/tmp/d/up/e") = 0'), "/tmp/x"),
    ],
)
def test_a_mark_goes_where_the_file_goes(moves: tuple[str, ...], program: str | None) -> None:
    event = last(write("/tmp/x"), write("/tmp/d/deep/z"), *moves, execve(program or "/tmp/x", "x"))
    assert event.origin == ("" if program is None else "written")


@pytest.mark.parametrize(
    "lines",
    [
        (f'execveat(11</memfd:evil>(deleted), "", ["x"], {ENV}, AT_EMPTY_PATH) = 0',),
        ('memfd_create("evil", 0) = 11</memfd:evil>(deleted)', execve("/proc/self/fd/11", "x")),
        ('memfd_create("evil", 0) = 11</memfd:evil>(deleted)', execve("/proc/2/fd/11", "x")),
        ('memfd_create("evil", 0) = 11</memfd:evil>(deleted)', execve("/usr/bin/python3", "python3", "/dev/fd/11")),
        ('memfd_create("evil", 0) = 11</memfd:evil>(deleted)', execve("/proc/self/fd/99", "x")),
        (
            'memfd_create("evil", 0) = 11</memfd:evil>(deleted)',
            "dup2(11</memfd:evil>(deleted), 77) = 77</memfd:evil>(deleted)",
            execve("/proc/self/fd/77", "x"),
        ),
    ],
)
def test_a_program_in_memory(lines: tuple[str, ...]) -> None:
    assert last(*lines).origin == "memory"


def test_programs_named_by_descriptor_or_as_oneself() -> None:
    opened = f'openat({CWD}, "/usr/bin/id", O_RDONLY) = 7</usr/bin/id>'
    assert last(opened, execve("/proc/self/fd/7", "id")).image == "/usr/bin/id"
    assert last(execve("/proc/self/exe", "python3")).image == "/usr/bin/python3"
    assert last(f'execveat(4</usr/bin>, "id", ["id"], {ENV}, 0) = 0').image == "/usr/bin/id"


@pytest.mark.parametrize(
    ("image", "argv", "script"),
    [
        ("/bin/sh", ("sh", "a.sh", "b"), "a.sh"),
        ("/bin/sh", ("sh", "-ex", "a.sh"), "a.sh"),
        ("/bin/sh", ("sh", "-e", "a.sh"), "a.sh"),
        ("/usr/bin/python3", ("python3", "-cprint(1)", "a.py"), None),
        ("/usr/bin/python3", ("python3", "-Im", "pip"), None),
        ("/usr/bin/perl", ("perl", "-wne", "x", "a"), None),
        ("/usr/bin/php", ("php", "-r", "x"), None),
        ("/bin/sh", ("sh", "-x", "a.sh"), "a.sh"),
        ("/bin/sh", ("sh", "-c", "a.sh"), None),
        ("/bin/bash", ("bash", "-lc", "a.sh"), None),
        ("/bin/bash", ("bash", "--rcfile", "rc", "a.sh"), "a.sh"),
        ("/usr/bin/python3.11", ("python", "-I", "-W", "error", "-X", "dev", "a.py"), "a.py"),
        ("/usr/bin/python3", ("python3", "-m", "pip"), None),
        ("/usr/bin/python3", ("python3", "-"), None),
        ("/usr/bin/python3", ("python3", "--", "-odd.py"), "-odd.py"),
        ("/usr/bin/python3", ("python3",), None),
        ("/usr/bin/perl", ("perl", "-e", "x"), None),
        ("/usr/bin/node", ("node", "--require", "r.js", "a.js"), "a.js"),
        ("/lib64/ld-linux-x86-64.so.2", ("ld.so", "/tmp/x"), "/tmp/x"),
        ("/bin/cat", ("cat", "a.sh"), None),
    ],
)
def test_the_script_of_an_interpreter(image: str, argv: tuple[str, ...], script: str | None) -> None:
    assert script_of(image, argv) == script
