"""Sockets, processes reaching into others, and the kernel's more dangerous calls."""

from __future__ import annotations

import pytest

from tests.collector.lines import call, read, told

INET = '{{sa_family=AF_INET, sin_port=htons({1}), sin_addr=inet_addr("{0}")}}'
INET6 = '{{sa_family=AF_INET6, sin6_port=htons({1}), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "{0}", &sin6_addr)}}'


def inet(ip: str, port: int) -> str:
    return (INET6 if ":" in ip else INET).format(ip, port)


def rows(*lines: str) -> list[dict[str, object]]:
    trace = read(call(20, number, line) for number, line in enumerate(lines, 1))
    assert trace.counts.unparsed == 0
    return told(trace.events)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"connect(3<TCP:[1]>, {inet('192.0.2.7', 443)}, 16) = 0", {"ip": "192.0.2.7", "port": 443}),
        (f"connect(3<TCP:[1]>, {inet('192.0.2.7', 443)}, 16) = -1 EINPROGRESS (Operation now in progress)",
         {"ip": "192.0.2.7", "port": 443}),
        (f"connect(3<TCP:[1]>, {inet('192.0.2.7', 99)}, 16) = -1 ECONNREFUSED (Connection refused)",
         {"ip": "192.0.2.7", "port": 99, "errno": "ECONNREFUSED"}),
        (f"connect(3<UDP:[1]>, {inet('192.0.2.7', 53)}, 16) = 0", {"ip": "192.0.2.7", "port": 53, "protocol": "udp"}),
        (f"connect(3<TCPv6:[1]>, {inet('2001:db8::0:1', 80)}, 28) = 0", {"ip": "2001:db8::1", "port": 80}),
        (f"connect(3<TCPv6:[1]>, {inet('::ffff:192.0.2.7', 80)}, 28) = 0", {"ip": "192.0.2.7", "port": 80}),
        (f"connect(3<socket:[1]>, {inet('192.0.2.7', 80)}, 16) = 0",
         {"ip": "192.0.2.7", "port": 80, "protocol": "unknown"}),
        (f'sendto(3<TCP:[1]>, "GET", 3, MSG_FASTOPEN, {inet("192.0.2.7", 80)}, 16) = 3',
         {"ip": "192.0.2.7", "port": 80}),
    ],
)  # fmt: skip
def test_dials(line: str, expected: dict[str, object]) -> None:
    assert rows(line) == [{"kind": "network.connect", "pid": 20} | expected]


@pytest.mark.parametrize(
    ("made", "protocol"),
    [
        ("AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP", "tcp"),
        ("AF_INET, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP", "udp"),
        ("AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6", "icmp"),
        ("AF_INET, SOCK_RAW, IPPROTO_ICMP", "raw"),
        ("AF_UNIX, SOCK_STREAM, 0", "unknown"),
    ],
)
def test_a_socket_that_the_kernel_does_not_describe_is_what_it_was_made_as(made: str, protocol: str) -> None:
    dialled = inet("192.0.2.7", 80)
    found = rows(f"socket({made}) = 3<socket:[7]>", f"connect(3<socket:[7]>, {dialled}, 16) = 0")
    events = [row for row in found if row["kind"] == "network.connect"]
    assert [row.get("protocol", "tcp") for row in events] == [protocol]


def test_a_port_that_no_number_can_hold_is_not_understood() -> None:
    line = f"connect(3<TCP:[1]>, {inet('192.0.2.7', 1).replace('htons(1)', 'htons(' + '9' * 5000 + ')')}, 16) = 0"
    trace = read([call(20, 1, line)])
    assert (told(trace.events), trace.counts.unparsed) == ([], 1)


def test_asking_again_about_a_dial_is_no_second_one() -> None:
    line = f"connect(3<TCP:[1]>, {inet('192.0.2.7', 443)}, 16) = "
    assert len(rows(line + "-1 EINPROGRESS (Operation now in progress)", line + "-1 EISCONN (Connected)")) == 1


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('connect(3<UNIX-STREAM:[9]>, {sa_family=AF_UNIX, sun_path="/run/docker.sock"}, 110) = 0', "/run/docker.sock"),
        (r'connect(3<UNIX-STREAM:[9]>, {sa_family=AF_UNIX, sun_path=@"a>\"b) = 3"}, 12) = 0', '@a>"b) = 3'),
        ('connect(3<UNIX-STREAM:[9]>, {sa_family=AF_UNIX, sun_path="agent.sock"}, 12) = 0', "/home/dev/agent.sock"),
        ('sendto(3<UNIX-DGRAM:[9]>, "x", 1, 0, {sa_family=AF_UNIX, sun_path="/dev/log"}, 12) = 1', "/dev/log"),
    ],
)
def test_unix_sockets(line: str, path: str) -> None:
    assert rows(line) == [{"kind": "network.unix", "pid": 20, "path": path}]


def test_disconnecting_and_asking_the_kernel_are_no_dials() -> None:
    assert rows(
        'connect(3<UDP:[1]>, {sa_family=AF_UNSPEC, sa_data="\\0\\0"}, 16) = 0',
        "bind(3<NETLINK:[ROUTE:7]>, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0",
        "connect(3<TCP:[1]>, 0x10, 16) = -1 EFAULT (Bad address)",
    ) == []  # fmt: skip


def test_a_listener_is_told_once_with_its_real_port() -> None:
    assert rows(
        f"bind(3<TCP:[1]>, {inet('0.0.0.0', 4444)}, 16) = 0",  # noqa: S104
        "listen(3<TCP:[0.0.0.0:4444]>, 5) = 0",
        f"bind(4<TCPv6:[2]>, {inet('::1', 0)}, 28) = 0",
        "listen(4<TCPv6:[[::1]:33549]>, 128) = 0",
    ) == [
        {"kind": "network.listen", "pid": 20, "ip": "0.0.0.0", "port": 4444},  # noqa: S104
        {"kind": "network.listen", "pid": 20, "ip": "::1", "port": 33549},
    ]


def test_datagrams_are_kept_for_whoever_asks_which_process_sent_them() -> None:
    many = '{msg_hdr={msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="%s", iov_len=2}], msg_iovlen=1}, msg_len=2}'
    trace = read(
        [
            call(20, 1, rf'sendto(3<UDP:[1]>, "ab\0\303", 4, 0, {inet("192.0.2.53", 53)}, 16) = 4'),
            call(20, 2, f"connect(4<UDP:[2]>, {inet('192.0.2.1', 53)}, 16) = 0"),
            call(20, 3, 'sendto(4<UDP:[2]>, "known by dial", 13, 0, NULL, 0) = 13'),
            call(20, 4, f"sendmmsg(5<UDP:[127.0.0.1:9->192.0.2.2:53]>, [{many % 'a1'}, {many % 'b2'}], 2, 0) = 2"),
            call(20, 5, f"sendmsg(3<UDP:[1]>, {{msg_name={inet('192.0.2.3', 99)}, msg_namelen=16, "
                        'msg_iov=[{iov_base="abc", iov_len=3}, {iov_base="def", iov_len=3}], msg_iovlen=2}, 0) = 6'),
            call(20, 6, 'sendto(6<TCP:[127.0.0.1:9->192.0.2.2:80]>, "GET /", 5, 0, NULL, 0) = 5'),
            call(20, 7, f'sendto(3<UDP:[1]>, "{"x" * 5000}"..., 6000, 0, {inet("192.0.2.53", 53)}, 16) = 6000'),
        ]
    )  # fmt: skip
    assert [(send.ip, send.port, send.protocol, send.payload[:13]) for send in trace.sends] == [
        ("192.0.2.53", 53, "udp", b"ab\0\xc3"),
        ("192.0.2.1", 53, "udp", b"known by dial"),
        ("192.0.2.2", 53, "udp", b"a1"),
        ("192.0.2.2", 53, "udp", b"b2"),
        ("192.0.2.3", 99, "udp", b"abcdef"),
        ("192.0.2.53", 53, "udp", b"x" * 13),
    ]
    assert [send.source.line for send in trace.sends] == [12, 14, 15, 15, 16, 18]
    assert len(trace.sends[-1].payload) == 4096
    assert trace.counts.unparsed == 0


FORK = "clone(child_stack=NULL, flags=SIGCHLD) = 3 /* 21 in strace's PID NS */"
FORK_GRANDCHILD = "clone(child_stack=NULL, flags=SIGCHLD) = 4 /* 22 in strace's PID NS */"


@pytest.mark.parametrize(
    "line",
    [
        "kill(3 /* 21 in strace's PID NS */, SIGTERM) = 0",
        "kill(4 /* 22 in strace's PID NS */, SIGKILL) = 0",
        "kill(-3 /* 21 in strace's PID NS */, SIGKILL) = 0",
        "kill(3, SIGKILL) = 0",
        "kill(2 /* 20 in strace's PID NS */, SIGABRT) = 0",
        "kill(1 /* 19 in strace's PID NS */, 0) = 0",
        "kill(99, SIGKILL) = -1 ESRCH (No such process)",
        "tgkill(2 /* 20 in strace's PID NS */, 2 /* 20 in strace's PID NS */, SIGABRT) = 0",
        "rt_sigqueueinfo(3 /* 21 in strace's PID NS */, SIGTERM, {si_signo=SIGTERM, si_code=SI_QUEUE}) = 0",
        "pidfd_send_signal(5<pid:21>, SIGKILL, NULL, 0) = 0",
        "pidfd_send_signal(5<pid:19>, 0, NULL, 0) = 0",
        "process_vm_readv(2 /* 20 in strace's PID NS */, [{iov_base=0x1, iov_len=1}], 1, [], 0, 0) = 1",
    ],
)
def test_a_process_may_look_after_its_own(line: str) -> None:
    trace = read([call(20, 1, FORK), call(21, 2, FORK_GRANDCHILD), call(20, 3, line)])
    assert [row["kind"] for row in told(trace.events)] == ["process.start", "process.start"]
    assert trace.counts.unparsed == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kill(2 /* 20 in strace's PID NS */, SIGKILL) = 0", {"call": "kill", "signal": "SIGKILL", "target": 20}),
        ("kill(1 /* 19 in strace's PID NS */, SIGKILL) = 0", {"call": "kill", "signal": "SIGKILL", "target": 19}),
        ("kill(9 /* 90 in strace's PID NS */, SIGKILL) = 0", {"call": "kill", "signal": "SIGKILL", "target": 90}),
        ("kill(9, SIGKILL) = 0", {"call": "kill", "signal": "SIGKILL"}),
        ("kill(-1, SIGKILL) = 0", {"call": "kill", "signal": "SIGKILL", "target": -1}),
        (
            "tgkill(1 /* 19 in strace's PID NS */, 4 /* 22 in strace's PID NS */, SIGUSR1) = 0",
            {"call": "tgkill", "target": 19, "signal": "SIGUSR1"},
        ),
        (
            "rt_sigqueueinfo(1 /* 19 in strace's PID NS */, SIGUSR1, {si_signo=SIGUSR1}) = -1 EPERM (no)",
            {"call": "rt_sigqueueinfo", "target": 19, "signal": "SIGUSR1", "errno": "EPERM"},
        ),
        (
            "rt_tgsigqueueinfo(1 /* 19 in strace's PID NS */, 1 /* 19 in strace's PID NS */, SIGKILL, NULL) = 0",
            {"call": "rt_tgsigqueueinfo", "target": 19, "signal": "SIGKILL"},
        ),
        ("pidfd_send_signal(5<pid:19>, SIGKILL, NULL, 0) = 0",
         {"call": "pidfd_send_signal", "target": 19, "signal": "SIGKILL"}),
        ("pidfd_send_signal(5, SIGKILL, NULL, 0) = 0", {"call": "pidfd_send_signal", "signal": "SIGKILL"}),
        ("ptrace(PTRACE_ATTACH, 2 /* 20 in strace's PID NS */) = 0", {"call": "ptrace", "target": 20}),
        ("process_vm_writev(2 /* 20 in strace's PID NS */, [{iov_base=\"a\"}], 1, [], 0, 0) = -1 EPERM (Not permitted)",
         {"call": "process_vm_writev", "target": 20, "errno": "EPERM"}),
        ("pidfd_getfd(3<pid:20>, 0</dev/null<char 1:3>>, 0) = 4</dev/null<char 1:3>>",
         {"call": "pidfd_getfd", "target": 20}),
    ],
)  # fmt: skip
def test_reaching_into_another_process(line: str, expected: dict[str, object]) -> None:
    trace = read([call(20, 1, FORK), call(21, 2, line)])
    assert told(trace.events)[1:] == [{"kind": "process.access", "pid": 21} | expected]


def test_opening_the_memory_of_another_process() -> None:
    trace = read(
        [
            call(20, 1, FORK),
            call(21, 2, 'openat(AT_FDCWD</home/dev>, "/proc/3/mem", O_RDWR) = 3</proc/3/mem>'),
            call(20, 3, 'openat(AT_FDCWD</home/dev>, "/proc/3/mem", O_RDONLY) = 3</proc/3/mem>'),
        ]
    )
    access = [row for row in told(trace.events) if row["kind"] == "process.access"]
    assert access == [{"kind": "process.access", "pid": 20, "call": "/proc/mem", "target": 21}]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ptrace(PTRACE_TRACEME) = -1 EPERM (Operation not permitted)",
         {"call": "ptrace", "args": "PTRACE_TRACEME", "errno": "EPERM"}),
        ("unshare(CLONE_FILES) = 0", {"call": "unshare", "args": "CLONE_FILES"}),
        ("io_uring_setup(8, {flags=0, sq_thread_cpu=0}) = -1 ENOSYS (Function not implemented)",
         {"call": "io_uring_setup", "args": "8, {flags=0, sq_thread_cpu=0}", "errno": "ENOSYS"}),
        ("personality(ADDR_NO_RANDOMIZE) = 0 (PER_LINUX)", {"call": "personality", "args": "ADDR_NO_RANDOMIZE"}),
        ('mknod("/tmp/sda", S_IFBLK|0600, makedev(0x8, 0)) = -1 EPERM (Operation not permitted)',
         {"call": "mknod", "args": '"/tmp/sda", S_IFBLK|0600, makedev(0x8, 0)', "errno": "EPERM"}),
        ("syscall_0x309(0x1, 0x2, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)",
         {"call": "syscall_0x309", "args": "0x1, 0x2, 0, 0, 0, 0", "errno": "ENOSYS"}),
        ("--- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_syscall=__NR_open} ---",
         {"call": "open", "args": "{si_signo=SIGSYS, si_code=SYS_SECCOMP, si_syscall=__NR_open}", "errno": "SIGSYS"}),
        ("--- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_errno=ENOEXEC} ---",
         {"call": "seccomp", "args": "{si_signo=SIGSYS, si_code=SYS_SECCOMP, si_errno=ENOEXEC}", "errno": "SIGSYS"}),
        ("io_uring_enter(0, 0, 0, 0, NULL, 8) = -1 EPERM (Operation not permitted) (INJECTED)",
         {"call": "io_uring_enter", "args": "0, 0, 0, 0, NULL, 8", "errno": "EPERM"}),
        ("process_vm_readv(2 /* 20 in strace's PID NS */, [], 0, [], 0, 0) = -1 EPERM (Not permitted) (INJECTED)",
         {"call": "process_vm_readv", "args": "2 /* 20 in strace's PID NS */, [], 0, [], 0, 0", "errno": "EPERM"}),
        ("[ Process PID=20 runs in 32 bit mode. ]", {"call": "abi", "args": "Process PID=20 runs in 32 bit mode."}),
        ("bind(3<PACKET:[IP:7]>, {sa_family=AF_PACKET, sll_ifindex=0}, 20) = 0",
         {"call": "bind", "args": "3<PACKET:[IP:7]>, {sa_family=AF_PACKET, sll_ifindex=0}, 20"}),
    ],
)  # fmt: skip
def test_calls_on_the_kernel(line: str, expected: dict[str, object]) -> None:
    assert rows(line) == [{"kind": "kernel.call", "pid": 20} | expected]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("CLONE_NEWUSER", ["kernel.namespace"]),
        ("CLONE_UNTRACED", ["kernel.call"]),
        ("CLONE_UNTRACED|CLONE_NEWPID", ["kernel.namespace", "kernel.call"]),
    ],
)
def test_a_fork_into_new_namespaces_or_away_from_the_tracer(flags: str, expected: list[str]) -> None:
    kinds = [row["kind"] for row in rows(f"clone(child_stack=NULL, flags={flags}|SIGCHLD) = 3")]
    assert kinds == expected


def test_a_signal_that_the_package_sends_itself_is_no_refusal() -> None:
    assert rows("--- SIGSYS {si_signo=SIGSYS, si_code=SI_TKILL, si_pid=2, si_uid=1000} ---") == [
        {"kind": "process.signal", "pid": 20, "signal": "SIGSYS", "sender": 20, "code": "SI_TKILL"}
    ]


@pytest.mark.parametrize(
    ("flag", "asked"),
    [
        ("CLONE_NEWUSER", {"kind": "kernel.namespace", "namespaces": ("user",)}),
        ("CLONE_UNTRACED", {"kind": "kernel.call"}),
    ],
)
@pytest.mark.parametrize(("ending", "errno"), [(") = 56", "SIGSYS"), (" <unfinished ...>", "UNFINISHED")])
def test_a_fork_that_the_filter_ends_has_no_child(flag: str, asked: dict[str, object], ending: str, errno: str) -> None:
    siginfo = "{si_signo=SIGSYS, si_code=SYS_SECCOMP, si_errno=EUSERS, si_syscall=__NR_clone}"
    trace = read(
        [
            call(20, 1, "clone(child_stack=NULL, flags=SIGCHLD) = 57 /* 56 in strace's PID NS */"),
            call(20, 2, f"clone(child_stack=NULL, flags={flag}|SIGCHLD{ending}"),
            call(20, 3, f"--- SIGSYS {siginfo} ---"),
            call(20, 4, "+++ killed by SIGSYS +++"),
            call(56, 5, 'openat(AT_FDCWD</home/dev>, "a", O_RDONLY) = 3</home/dev/a>'),
        ]
    )
    assert told(trace.events) == [
        {"kind": "process.start", "pid": 56, "parent": 20},
        {**asked, "pid": 20, "call": "clone", "args": f"{flag}|SIGCHLD", "errno": errno},
        {"kind": "kernel.call", "pid": 20, "call": "clone", "args": siginfo, "errno": "SIGSYS"},
        {"kind": "process.exit", "pid": 20, "signal": "SIGSYS"},
        {"kind": "file.read", "pid": 56, "path": "/home/dev/a"},
    ]
    assert trace.orphans == 0


def test_a_fork_through_a_foreign_interface_has_no_child_either() -> None:
    found = rows(
        "[ Process PID=20 runs in x32 mode. ]",
        "fork() = 1073741881",
        "--- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_errno=ENOEXEC, si_syscall=__NR_fork} ---",
        "[ Process PID=20 runs in 64 bit mode. ]",
        "fork() = 57",
    )
    assert [row["call"] for row in found if row["kind"] == "kernel.call"] == ["abi", "fork", "abi"]


@pytest.mark.parametrize(
    "address",
    [
        "0x7ffc",
        "NULL",
        '{sa_family=AF_INET, sin_port=0x8, sin_addr=inet_addr("192.0.2.1")}',
        "{sa_family=AF_INET, sin_port=htons(80), sin_addr=0x8}",
        "{sa_family=AF_INET, sin_port=htons(x), sin_addr=inet_addr(0x8)}",
        '{sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "no address", &sin6_addr)}',
    ],
)
def test_an_address_that_strace_could_not_read_is_a_loss_only_when_the_call_worked(address: str) -> None:
    for text in (f"connect(3<TCP:[7]>, {address}, 16)", f"bind(3<TCP:[7]>, {address}, 16)"):
        failed = read(call(20, 1, f"{text} = -1 EFAULT (Bad address)"))
        assert (failed.counts.unparsed, len(failed.events)) == (0, 1)
        assert read(call(20, 1, f"{text} = 0")).counts.unparsed == 1
