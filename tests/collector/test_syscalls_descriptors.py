"""Which descriptor is what: duplicated, inherited, shared, sent, accepted, dialled afterwards, closed on exec."""

from __future__ import annotations

import pytest

from tests.collector.lines import call, read, told

PEER = "192.0.2.1:4444"
SOCKET = f"3<TCP:[10.0.0.2:1->{PEER}]>"
SHELL = 'execve("/bin/sh", ["sh"], 0x7f /* 1 var */) = 0'
DIAL = '{sa_family=AF_INET, sin_port=htons(4444), sin_addr=inet_addr("192.0.2.1")}, 16) = 0'
FORK = "clone(child_stack=NULL, flags=%sSIGCHLD) = 3 /* 21 in strace's PID NS */"


def rows(*lines: str, pid: int = 20) -> list[dict[str, object]]:
    trace = read([call(pid, number, line) for number, line in enumerate(lines, 1)])
    assert trace.counts.unparsed == 0
    return told(trace.events)


def stdio(*lines: str) -> object:
    """What the shell that is executed last has for a terminal."""
    (shell,) = [row for row in rows(*lines, SHELL) if row["kind"] == "process.exec"]
    return shell.get("stdio", "")


def message(target: str) -> str:
    return (
        '{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="x", iov_len=1}], msg_iovlen=1, '
        f"msg_control=[{{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[{target}]}}], "
        "msg_controllen=24, msg_flags=0}"
    )


RECEIVED = f"0<TCP:[10.0.0.2:1->{PEER}]>"


@pytest.mark.parametrize(
    "lines",
    [
        [f"dup2({SOCKET}, 0) = 0<TCP:[10.0.0.2:1->{PEER}]>"],
        [f"dup3({SOCKET}, 2, 0) = 2"],
        [f"dup({SOCKET}) = 1"],
        [f"fcntl({SOCKET}, F_DUPFD, 0) = 0"],
        [f"fcntl({SOCKET}, F_DUPFD_CLOEXEC, 0) = 0", "fcntl(0, F_SETFD, 0) = 0"],
        [f"recvmsg(4<UNIX-STREAM:[7->8]>, {message(RECEIVED)}, 0) = 1"],
        [f"recvmmsg(4<UNIX-STREAM:[7->8]>, [{{msg_hdr={message(RECEIVED)}, msg_len=1}}], 1, 0, NULL) = 1"],
        ["dup2(3<TCP:[77]>, 0) = 0", f"connect(3<TCP:[77]>, {DIAL}"],
        [f"connect(3<socket:[77]>, {DIAL}", "dup2(3<socket:[77]>, 0) = 0<socket:[77]>"],
        [f"connect(3<socket:[77]>, {DIAL}", "dup(3) = 0"],
        [f"connect(0<TCP:[77]>, {DIAL}"],
        [f"dup2({SOCKET}, 0) = 0", "close_range(3, 4294967295, 0) = 0"],
        [f"dup2({SOCKET}, 0) = 0", f"dup2(0<TCP:[10.0.0.2:1->{PEER}]>, 0) = 0"],
        # ioctl(FIONCLEX) is not traced: it may have kept a socket open that should have been closed.
        [f"dup3({SOCKET}, 0, O_CLOEXEC) = 0"],
    ],
)  # fmt: skip
def test_a_socket_in_place_of_a_terminal(lines: list[str]) -> None:
    assert stdio(*lines) == PEER


@pytest.mark.parametrize(
    "lines",
    [
        [f"dup2({SOCKET}, 5) = 5"],
        [f"dup2({SOCKET}, 0) = -1 EBADF (Bad file descriptor)"],
        [f"fcntl({SOCKET}, F_GETFD) = 0x1 (flags FD_CLOEXEC)"],
        [f"fcntl({SOCKET}, F_DUPFD, 3) = 4"],
        [f"dup2({SOCKET}, 0) = 0", 'openat(AT_FDCWD</>, "/dev/null", O_RDONLY) = 0</dev/null<char 1:3>>'],
        [f"dup2({SOCKET}, 0) = 0", "dup2(7<pipe:[9]>, 0) = 0"],
        [f"dup2({SOCKET}, 0) = 0", "close_range(0, 2, 0) = 0"],
        [f"dup2({SOCKET}, 0) = 0", "close_range(0, 2, CLOSE_RANGE_UNSHARE) = 0"],
        ["dup2(3<TCP:[77]>, 0) = 0"],
        # No kernel's doing; found by fuzzing.
        ["dup2(3<TCP:[10.0.0.2:1->192.0.2.1:%s]>, 0) = 0" % ("1" * 5000)],
        ["dup2(3<TCP:[10.0.0.2:1->192.0.2.1:Â²]>, 0) = 0"],
        ["dup2(3<TCP:[77]>, 0) = 0", f"connect(4<TCP:[78]>, {DIAL}"],
        ["dup2(3<UNIX-STREAM:[7->8]>, 0) = 0"],
        [f"recvmsg(4<UNIX-STREAM:[7->8]>, {message('5<TCP:[1]>')}, MSG_CMSG_CLOEXEC) = 1"],
        [f"recvmsg(4<UNIX-STREAM:[7->8]>, {message(RECEIVED)}, 0) = -1 EAGAIN (Resource temporarily unavailable)"],
        ["recvmsg(4<UNIX-STREAM:[7->8]>, 0x7f, 0) = 1", "recvmmsg(4, 0x7f, 1, 0, NULL) = 1", "dup(3) = 0"],
    ],
)  # fmt: skip
def test_a_terminal_that_is_none_of_a_socket(lines: list[str]) -> None:
    assert stdio(*lines) == ""


def shell_of(*, flags: str, parent: list[str], child: list[str]) -> object:
    lines = [
        call(20, 1, FORK % flags),
        *(call(21, 10 + at, line) for at, line in enumerate(child)),
        *(call(20, 20 + at, line) for at, line in enumerate(parent)),
        call(20, 30, SHELL),
    ]
    (shell,) = [row for row in told(read(lines).events) if row["kind"] == "process.exec" and row["pid"] == 20]
    return shell.get("stdio", "")


def test_a_table_that_two_processes_share_is_one() -> None:
    assert shell_of(flags="CLONE_FILES|", child=[f"dup2({SOCKET}, 0) = 0"], parent=[]) == PEER
    assert shell_of(flags="", child=[f"dup2({SOCKET}, 0) = 0"], parent=[]) == ""


def test_a_shared_table_ends_with_an_exec_or_when_asked() -> None:
    after_exec = [SHELL, f"dup2({SOCKET}, 0) = 0"]
    assert shell_of(flags="CLONE_FILES|", child=after_exec, parent=[]) == ""
    apart = ["close_range(9, 9, CLOSE_RANGE_UNSHARE) = 0", f"dup2({SOCKET}, 0) = 0"]
    assert shell_of(flags="CLONE_FILES|", child=apart, parent=[]) == ""


def test_a_socket_dialled_by_the_child_is_that_of_the_parents_number_too() -> None:
    lines = ["dup2(3<TCP:[77]>, 0) = 0"]
    assert shell_of(flags="", child=[f"connect(3<TCP:[77]>, {DIAL}"], parent=lines) == PEER


def test_what_an_exec_closes_is_forgotten() -> None:
    memfd = 'memfd_create("x", %s) = 5</memfd:x>(deleted)'
    script = 'execve("/bin/sh", ["sh", "/proc/self/fd/5"], 0x7f /* 1 var */) = 0'
    kept = rows(memfd % "0", SHELL, 'link("/proc/self/fd/5", "a") = -1 EPERM (Operation not permitted)')
    assert kept[-1]["target"] == "/memfd:x"
    gone = rows(memfd % "MFD_CLOEXEC", SHELL, 'link("/proc/self/fd/5", "a") = -1 ENOENT (No such file or directory)')
    assert gone[-1]["target"] == "/proc/self/fd/5"
    marked = rows(memfd % "0", "fcntl(5</memfd:x>(deleted), F_SETFD, FD_CLOEXEC) = 0", SHELL, script)
    assert [row.get("origin") for row in marked if row["kind"] == "process.exec"] == [None, "memory"]
    swept = rows(memfd % "0", "close_range(3, 9, CLOSE_RANGE_CLOEXEC) = 0", SHELL, 'link("/proc/self/fd/5", "a") = 0')
    assert swept[-1]["target"] == "/proc/self/fd/5"


ACCEPTED = 'sa_family=AF_INET, sin_port=htons(50000), sin_addr=inet_addr("127.0.0.1")'
ENDS = "7<TCP:[127.0.0.1:8080->127.0.0.1:50000]>"
ACCEPT = {"kind": "network.accept", "pid": 20, "ip": "127.0.0.1", "port": 50000}
LOCAL = {"local_ip": "127.0.0.1", "local_port": 8080}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"accept4(5<TCP:[127.0.0.1:8080]>, {{{ACCEPTED}}}, [16], SOCK_CLOEXEC) = {ENDS}", [ACCEPT | LOCAL]),
        (f"accept(5<TCP:[127.0.0.1:8080]>, NULL, NULL) = {ENDS}", [ACCEPT | LOCAL]),
        (f"accept(5<socket:[8]>, {{{ACCEPTED}}}, [16]) = 7<socket:[9]>", [ACCEPT]),
        ("accept(5<TCP:[127.0.0.1:8080]>, NULL, NULL) = -1 EMFILE (Too many open files)",
         [{"kind": "network.accept", "pid": 20, "ip": "", "port": 0, "errno": "EMFILE"} | LOCAL]),
        ("accept(5<TCP:[127.0.0.1:8080]>, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)", []),
        ("accept(5<TCP:[127.0.0.1:8080]>, NULL, NULL <unfinished ...>", []),
        ("accept(5<UNIX-STREAM:[8]>, NULL, NULL) = 7<UNIX-STREAM:[9->10]>", []),
        ("accept(5, NULL, NULL) = -1 EBADF (Bad file descriptor)", []),
    ],
)  # fmt: skip
def test_connections_that_come_in(line: str, expected: list[dict[str, object]]) -> None:
    assert rows(line) == expected


def test_a_shell_on_an_accepted_connection() -> None:
    accepted = "accept(5<TCP:[127.0.0.1:8080]>, NULL, NULL) = 0<TCP:[127.0.0.1:8080->192.0.2.1:4444]>"
    assert stdio(accepted) == PEER
    plain = ACCEPTED.replace("127.0.0.1", "192.0.2.1").replace("50000", "4444")
    assert stdio(f"accept(5<socket:[8]>, {{{plain}}}, [16]) = 0<socket:[9]>") == PEER


TO = '{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("192.0.2.9")}, 16'
SENT = {"kind": "network.send", "pid": 20, "ip": "192.0.2.9", "port": 5353, "protocol": "udp", "size": 3}


def test_the_first_packet_to_an_address_is_an_event() -> None:
    packet = f'sendto(4<UDP:[8]>, "abc", 3, 0, {TO % 5353})'
    unreachable = "-1 ENETUNREACH (Network is unreachable)"
    found = rows(f"{packet} = 3", f"{packet} = 3", f"{packet} = {unreachable}", f"{packet} = {unreachable}")
    shape = {key: value for key, value in SENT.items() if key != "protocol"}
    assert found == [shape, shape | {"errno": "ENETUNREACH"}]


def test_a_scan_does_not_fill_the_evidence() -> None:
    found = rows(*(f'sendto(4<UDP:[8]>, "abc", 3, 0, {TO % port}) = 3' for port in range(1, 2000)))
    assert len(found) == 1000
