"""Lineage, files and counts: which lines of a trace become which events."""

from __future__ import annotations

import pytest

from collector.events import ProcessExec, Source
from collector.live_processes import ProcessTableBuilder
from tests.collector.lines import POD, ROOT, SOURCE, START, call, read, told

CWD = "AT_FDCWD</home/dev>"


def test_the_pods_own_set_up_is_not_the_packages() -> None:
    trace = read(call(19, 1, "+++ exited with 0 +++"))
    (root,) = trace.events
    assert isinstance(root, ProcessExec)
    assert (root.pid, root.image, root.argv, root.cwd, root.parent) == (20, "/usr/bin/python3", ROOT, "/home/dev", 0)
    assert root.source == Source(SOURCE, 11)
    assert trace.root_seen


def test_without_the_root_nothing_is_the_packages_but_it_is_said() -> None:
    trace = read(call(20, 1, f'openat({CWD}, "/etc/passwd", O_RDONLY) = 3</etc/passwd>'), argv=("/usr/bin/other",))
    assert trace.events == ()
    assert not trace.root_seen
    assert trace.counts.lines == POD.count("\n") + 1


def test_a_root_with_another_argument_is_not_the_root() -> None:
    assert not read("", argv=(*ROOT, "x")).root_seen
    assert not read("", argv=(*ROOT[:2], "pass\udcff")).root_seen


def test_process_one_may_give_up_rights_and_descriptors_after_the_root_began() -> None:
    closing = 'openat(3</proc>, "self/fd", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 5</proc/19/fd>'
    lines = [
        "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=0, permitted=0, inheritable=0}) = 0",
        closing,
        "fcntl(5</proc/19/fd>, F_GETFL) = 0x18800 (flags O_RDONLY|O_NONBLOCK|O_LARGEFILE|O_DIRECTORY)",
        "fcntl(5</proc/19/fd>, F_SETFD, FD_CLOEXEC) = 0",
        "+++ exited with 0 +++",
    ]
    assert len(read(call(19, at, line) for at, line in enumerate(lines, 1)).events) == 1


def test_process_one_that_asks_for_a_capability_was_taken_over() -> None:
    some = "{effective=1<<CAP_SYS_ADMIN, permitted=0, inheritable=0}"
    trace = read(call(19, 1, f"capset({{version=_LINUX_CAPABILITY_VERSION_3, pid=0}}, {some}) = 0"))
    assert [(row["kind"], row["pid"]) for row in told(trace.events)] == [("process.credentials", 19)]


def test_a_process_of_the_pod_that_acts_after_the_root_began_was_taken_over() -> None:
    trace = read(
        [
            call(20, 1, f'openat({CWD}, "/proc/1/mem", O_WRONLY) = 3</proc/1/mem>'),
            call(19, 2, 'openat(AT_FDCWD</>, "/etc/shadow", O_RDONLY) = 3</etc/shadow>'),
            call(19, 3, "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 30 in strace's PID NS */"),
            call(30, 4, 'openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>'),
        ]
    )
    assert [(row["kind"], row["pid"]) for row in told(trace.events)] == [
        ("file.write", 20),
        ("process.access", 20),
        ("file.read", 19),
        ("process.start", 30),
        ("file.read", 30),
    ]


def test_the_first_calls_of_a_child_may_come_before_its_fork_returned() -> None:
    trace = read(
        [
            call(20, 1, "vfork( <unfinished ...>"),
            call(21, 2, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
            call(21, 3, "vfork( <unfinished ...>"),
            call(22, 4, "+++ exited with 3 +++"),
            call(21, 5, "<... vfork resumed>) = 4 /* 22 in strace's PID NS */"),
            call(20, 6, "<... vfork resumed>) = 3 /* 21 in strace's PID NS */"),
        ]
    )
    assert told(trace.events) == [
        {"kind": "process.start", "pid": 21, "parent": 20},
        {"kind": "file.read", "pid": 21, "path": "/home/dev/a"},
        {"kind": "process.start", "pid": 22, "parent": 21},
        {"kind": "process.exit", "pid": 22, "code": 3},
    ]
    assert trace.orphans == 0


def test_an_interrupted_opening_of_a_child_may_come_before_its_fork_returned() -> None:
    trace = read(
        [
            call(20, 1, "vfork( <unfinished ...>"),
            call(21, 2, f'openat({CWD}, "a", O_RDONLY <unfinished ...>'),
            call(21, 3, "<... openat resumed>) = 3</home/dev/a>"),
            call(20, 4, "<... vfork resumed>) = 3 /* 21 in strace's PID NS */"),
        ]
    )
    assert told(trace.events) == [
        {"kind": "process.start", "pid": 21, "parent": 20},
        {"kind": "file.read", "pid": 21, "path": "/home/dev/a"},
    ]
    assert (trace.orphans, trace.counts.unparsed) == (0, 0)


def test_the_child_of_the_only_fork_in_flight_is_its_child() -> None:
    trace = read(
        [
            call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(21, 2, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
            call(20, 3, "+++ killed by SIGKILL +++"),
        ]
    )
    assert [(row["kind"], row["pid"]) for row in told(trace.events)] == [
        ("process.start", 21),
        ("file.read", 21),
        ("process.exit", 20),
    ]
    assert trace.orphans == 0


def test_a_child_that_is_found_when_its_parent_has_ended_has_its_descriptors() -> None:
    dials = '{sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.7")}'
    trace = read(
        [
            call(20, 1, f"connect(5<socket:[7]>, {dials}, 16) = 0"),
            call(20, 2, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(21, 3, "dup2(5, 0) = 0"),
            call(21, 4, 'execve("/bin/sh", ["sh"], 0x7ff /* 9 vars */) = 0'),
            call(20, 5, "+++ killed by SIGKILL +++"),
        ]
    )
    (shell,) = (row for row in told(trace.events) if row["kind"] == "process.exec")
    assert shell["stdio"] == "192.0.2.7:443"


def test_a_thread_that_is_found_when_its_process_has_ended_says_nothing_twice() -> None:
    to = '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.7")}'
    send = f'sendto(4<UDP:[1]>, "hello", 5, 0, {to}, 16) = 5'
    trace = read(
        [
            call(20, 1, send),
            call(20, 2, "clone(child_stack=NULL, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD <unfinished ...>"),
            call(21, 3, send),
            call(20, 4, "+++ killed by SIGKILL +++"),
        ]
    )
    assert [(row["kind"], row["pid"]) for row in told(trace.events)] == [("network.send", 20), ("process.exit", 20)]


def test_arguments_that_nobody_needs_are_looked_at_where_they_may_be_cut() -> None:
    said = 'recvmsg(4<TCP:[1]>, {msg_iov=[{iov_base="x"..., iov_len=1}]%s, msg_flags=0}, 0) = 1'
    trace = read(call(20, 1 + place, said % odd) for place, odd in enumerate(["", "]", "]"]))
    assert (trace.counts.truncated, trace.counts.unparsed) == (1, 2)


def test_a_fork_that_was_interrupted_has_no_child() -> None:
    trace = read(
        [
            call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD) = ? ERESTARTNOINTR (To be restarted)"),
            call(20, 2, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(21, 3, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
        ]
    )
    assert [row.get("parent") for row in told(trace.events)] == [20, None]
    assert trace.orphans == 0


def test_a_fork_whose_result_was_lost_with_its_thread_may_have_a_child() -> None:
    """strace told of a call's number as an error: seen with processes that are killed while their threads fork."""
    trace = read(
        [
            call(20, 0, "clone(child_stack=NULL, flags=SIGCHLD) = 9 /* 30 in strace's PID NS */"),
            call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(20, 2, "+++ killed by SIGKILL +++"),
            call(30, 60_050, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(31, 60_051, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
            call(30, 60_052, "<... clone resumed>, child_tidptr=0x7f) = -1 (errno 18446744073709551554)"),
        ]
    )
    assert [(row["pid"], row.get("parent")) for row in told(trace.events) if row["kind"] == "process.start"] == [
        (30, 20),
        (31, 30),
    ]
    assert trace.orphans == 0


def test_a_fork_begun_after_a_process_acted_is_not_its_origin() -> None:
    trace = read(
        [
            call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 30 in strace's PID NS */"),
            call(20, 2, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(21, 3, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
            call(30, 4, "vfork( <unfinished ...>"),
        ]
    )
    assert [(row["pid"], row.get("parent")) for row in told(trace.events)] == [(30, 20), (21, 20), (21, None)]


def test_of_two_possible_origins_none_is_guessed() -> None:
    trace = read(
        [
            call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 30 in strace's PID NS */"),
            call(20, 2, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
            call(30, 3, "vfork( <unfinished ...>"),
            call(31, 4, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
        ]
    )
    assert [(row["kind"], row["pid"]) for row in told(trace.events)] == [("process.start", 30), ("file.read", 31)]
    assert trace.orphans == 1


SIGNALLED = "+++ killed by SIGKILL +++"


@pytest.mark.parametrize(
    ("lines", "parent"),
    [
        # The thread that forks has the higher number, so that it was made later.
        ([(20, 2, "vfork( <unfinished ...>"), (30, 3, "vfork( <unfinished ...>"), (25, 5, "setsid() = 1")], 20),
        # 40 was made when 30 had ended already, and 41 after it.
        (
            [
                (30, 2, "vfork( <unfinished ...>"),
                (30, 3, SIGNALLED),
                (20, 4, "clone(child_stack=NULL, flags=SIGCHLD) = 4 /* 40 in strace's PID NS */"),
                (40, 5, "vfork( <unfinished ...>"),
                (41, 6, "setsid() = 1"),
            ],
            40,
        ),
        # Two threads of one process fork in the same way.
        (
            [
                (30, 2, "clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 31 /* 31 in strace's PID NS */"),
                (30, 3, "vfork( <unfinished ...>"),
                (31, 4, "vfork( <unfinished ...>"),
                (32, 5, "setsid() = 1"),
            ],
            30,
        ),
        # The same, but one of them makes a thread.
        (
            [
                (30, 2, "clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 31 /* 31 in strace's PID NS */"),
                (30, 3, "clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD <unfinished ...>"),
                (31, 4, "vfork( <unfinished ...>"),
                (32, 5, "setsid() = 1"),
            ],
            None,
        ),
    ],
)
def test_numbers_tell_whose_child_a_process_is(lines: list[tuple[int, int, str]], parent: int | None) -> None:
    """The kernel gives them out in ascending order."""
    begun = call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 30 in strace's PID NS */")
    trace = read([begun, *(call(*line) for line in lines)])
    last = lines[-1][0]
    found = [row.get("parent") for row in told(trace.events) if (row["kind"], row["pid"]) == ("process.start", last)]
    assert (found, trace.orphans) == (([], 1) if parent is None else ([parent], 0))


def test_a_pid_of_another_namespace_is_never_taken_for_the_tracers() -> None:
    trace = read(
        [
            call(18, 1, "unshare(CLONE_NEWPID) = 0"),
            call(18, 2, "clone(child_stack=NULL, flags=SIGCHLD) = 20"),
            call(20, 3, 'execve("/usr/bin/python3", ["/usr/bin/python3", "-c", "pass"], 0x7ff /* 9 vars */) = 0'),
            call(20, 4, "clone(child_stack=NULL, flags=SIGCHLD) = 2"),
            call(21, 5, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
            call(21, 6, "unshare(CLONE_NEWPID) = 0"),
        ],
        pod="",
    )
    rows = [(row["kind"], row["pid"], row.get("parent")) for row in told(trace.events)]
    assert rows == [("process.start", 21, 20), ("file.read", 21, None), ("kernel.namespace", 21, None)]


def test_a_namespace_of_the_packages_own_hides_its_children_too() -> None:
    trace = read(
        [
            call(20, 1, 'execve("/usr/bin/python3", ["/usr/bin/python3", "-c", "pass"], 0x7ff /* 9 vars */) = 0'),
            call(20, 2, "unshare(CLONE_NEWPID) = 0"),
            call(20, 3, "clone(child_stack=NULL, flags=SIGCHLD) = 21"),
            call(21, 4, "clone(child_stack=NULL, flags=SIGCHLD) = 2"),
            call(22, 5, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
        ],
        pod="",
    )
    starts = [(row["pid"], row["parent"]) for row in told(trace.events) if row["kind"] == "process.start"]
    assert starts == [(21, 20), (22, 21)]


def test_a_process_of_unknown_origin_counts_as_the_packages() -> None:
    trace = read(call(77, 1, f'openat({CWD}, "/etc/passwd", O_RDONLY) = 3</etc/passwd>'))
    assert told(trace.events) == [{"kind": "file.read", "pid": 77, "path": "/etc/passwd"}]
    assert trace.orphans == 1


def test_what_a_thread_does_its_process_does() -> None:
    flags = "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM"
    trace = read(
        [
            call(
                20,
                1,
                f"clone3({{flags={flags}, child_tid=0x7f, exit_signal=0, stack_size=0x7fff80}}"
                " => {parent_tid=[3]}, 88) = 3 /* 24 in strace's PID NS */",
            ),
            call(24, 2, f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'),
            call(
                24, 3, f"clone(child_stack=0x7f, flags={flags}|CLONE_SETTLS, tls=0x7f) = 4 /* 25 in strace's PID NS */"
            ),
            call(25, 4, f'openat({CWD}, "b", O_RDONLY) = 4</home/dev/b>'),
            call(25, 5, "clone(child_stack=NULL, flags=SIGCHLD) = 5 /* 26 in strace's PID NS */"),
            call(24, 6, "+++ exited with 0 +++"),
        ]
    )
    assert told(trace.events) == [
        {"kind": "file.read", "pid": 20, "path": "/home/dev/a"},
        {"kind": "file.read", "pid": 20, "path": "/home/dev/b"},
        {"kind": "process.start", "pid": 26, "parent": 20},
    ]


def test_what_lives_on_until_linger_belongs_to_it() -> None:
    table = ProcessTableBuilder()
    line = f'openat({CWD}, "a", O_RDONLY) = 3</home/dev/a>'
    trace = read([call(20, 1, line), call(20, 5000, line)], table=table, linger_started=START + 3)
    assert [event.phase for event in trace.events] == ["import", "import", "linger"]


def test_a_working_directory_is_followed_and_inherited() -> None:
    trace = read(
        [
            call(20, 1, 'chdir("sub")   = 0'),
            call(20, 2, "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 21 in strace's PID NS */"),
            call(20, 3, "fchdir(3</srv>) = 0"),
            call(20, 4, 'chdir("/nope") = -1 EACCES (Permission denied)'),
            call(20, 5, 'unlink("a") = 0'),
            call(21, 6, 'unlink("a") = 0'),
        ]
    )
    assert [(row["pid"], row.get("path")) for row in told(trace.events)[1:]] == [
        (20, "/srv/a"),
        (21, "/home/dev/sub/a"),
    ]


def test_what_was_lost_is_counted_with_its_first_line() -> None:
    lines = [
        call(20, 1, "setsid() = 2"),
        call(20, 2, "openat(AT_FDCWD</home/dev>, 0x7ffc, O_RDONLY) = 3</etc/passwd>"),
        call(20, 3, 'rename({"a", "b") = 0'),
        "garbage\n",
        "\n",
    ]
    counts = read(lines).counts
    assert (counts.lines, counts.unparsed, counts.first_unparsed_line) == (15, 3, 13)


def test_cut_strings_and_lists_of_the_package_are_counted() -> None:
    lines = [
        call(20, 1, 'unlink("aaaa"...) = -1 ENAMETOOLONG (File name too long)'),
        call(20, 2, 'execve("/bin/a", ["a", "b"...], 0x7f /* 1 var */) = -1 ENOENT (No such file or directory)'),
        call(20, 3, 'execve("/bin/a", ["a", ...], 0x7f /* 1 var */) = -1 ENOENT (No such file or directory)'),
        call(20, 4, r'unlink("a\"...") = 0'),
    ]
    assert read(lines).counts.truncated == 3


def test_events_are_in_order_of_time_and_say_where_they_stand() -> None:
    trace = read(
        [
            call(20, 1, f'openat({CWD}, "slow", O_RDONLY <unfinished ...>'),
            call(20, 3, "<... openat resumed>) = 3</home/dev/slow>"),
            call(20, 4, "+++ exited with 0 +++"),
        ]
    )
    assert [(event.ts, event.source) for event in trace.events[1:]] == [
        (START + 1.001, Source(SOURCE, 12)),
        (START + 1.004, Source(SOURCE, 14)),
    ]


def test_an_open_that_never_returned_is_an_attempt() -> None:
    trace = read(
        [call(20, 1, f'openat({CWD}, "a", O_RDONLY <unfinished ...>'), call(20, 2, "+++ killed by SIGKILL +++")]
    )
    assert told(trace.events) == [
        {"kind": "file.read", "pid": 20, "path": "/home/dev/a", "errno": "UNFINISHED"},
        {"kind": "process.exit", "pid": 20, "signal": "SIGKILL"},
    ]
