"""Credentials, namespaces, mounts and signals as events: what succeeded and what was only tried."""

from __future__ import annotations

import pytest

from tests.collector.lines import call, read, told

CAPS = "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=%s, permitted=%s, inheritable=0}"


def rows(*lines: str) -> list[dict[str, object]]:
    trace = read([call(20, number, line) for number, line in enumerate(lines, 1)])
    assert trace.counts.unparsed == 0
    return told(trace.events)


@pytest.mark.parametrize(
    ("call", "args", "root"),
    [
        ("setuid", "0", True),
        ("setuid", "1000", False),
        ("setreuid", "1000, 1000", False),
        ("setresuid", "-1, 0, -1", True),
        ("setregid", "-1, 0", True),
        ("setresgid", "1000, 1000, 1000", False),
        ("setfsuid", "0", True),
        ("setgroups", "0, NULL", False),
        ("setgroups", "2, [4, 0]", True),
        ("setgroups", "1, [1000]", False),
        ("capset", CAPS % ("1<<CAP_SYS_ADMIN", "1<<CAP_SYS_ADMIN"), True),
        ("capset", CAPS % ("0", "0"), False),
    ],
)
def test_a_change_of_credentials_is_told_with_its_outcome(call: str, args: str, root: bool) -> None:
    event: dict[str, object] = {"kind": "process.credentials", "pid": 20, "call": call, "args": args}
    if root:
        event["root"] = True
    refused = "-1 EPERM (Operation not permitted)"
    assert rows(f"{call}({args}) = 0", f"{call}({args}) = {refused}") == [event, event | {"errno": "EPERM"}]


@pytest.mark.parametrize(
    ("line", "namespaces"),
    [
        ("unshare(CLONE_NEWUSER|CLONE_NEWNS)", ("user", "mount")),
        ("setns(3<pid:20>, CLONE_NEWPID|CLONE_NEWNET)", ("pid", "network")),
        ("setns(3</proc/1/ns/mnt>, 0)", ("mount",)),
        ("setns(3<net:[4026531840]>, 0)", ("network",)),
        ("setns(3</proc/1/task/1/ns/pid_for_children>, 0)", ("pid",)),
        ("setns(-1, 0)", ()),
    ],
)
def test_namespaces_are_named(line: str, namespaces: tuple[str, ...]) -> None:
    name, _, args = line.removesuffix(")").partition("(")
    event: dict[str, object] = {"kind": "kernel.namespace", "pid": 20, "call": name, "args": args}
    if namespaces:
        event["namespaces"] = namespaces
    refused = "-1 EPERM (Operation not permitted)"
    assert rows(f"{line} = 0", f"{line} = {refused}") == [event, event | {"errno": "EPERM"}]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('mount("proc", "/tmp", "proc", 0, NULL)', {"path": "/tmp", "device": "proc", "filesystem": "proc"}),
        ('mount(NULL, "sub", NULL, MS_REMOUNT, NULL)', {"path": "/home/dev/sub"}),
        ("mount(0x7f, 0x7f, 0x7f, 0, NULL)", {}),
        ('umount2("/proc", MNT_DETACH)', {"path": "/proc"}),
        ('pivot_root("new", "old")', {"path": "/home/dev/new"}),
        ('chroot("/tmp")', {"path": "/tmp"}),
        ('move_mount(4<anon_inode:mount>, "", AT_FDCWD</srv>, "mnt", 0)', {"path": "/srv/mnt"}),
        ('open_tree(AT_FDCWD</home/dev>, "/", OPEN_TREE_CLONE)', {"path": "/"}),
        ('fsopen("tmpfs", 0)', {"filesystem": "tmpfs"}),
        ("fsmount(4<fscontext:[tmpfs]>, 0, 0)", {}),
    ],
)
def test_mounts_say_what_and_where(line: str, fields: dict[str, object]) -> None:
    name, _, args = line.removesuffix(")").partition("(")
    event = {"kind": "kernel.mount", "pid": 20, "call": name, "args": args} | fields
    refused = "-1 EPERM (Operation not permitted) (INJECTED)"
    assert rows(f"{line} = 0", f"{line} = {refused}") == [event, event | {"errno": "EPERM"}]


def test_a_signal_is_told_with_its_sender_by_the_tracers_number() -> None:
    siginfo = "{si_signo=SIGTERM, si_code=SI_USER, si_pid=%s, si_uid=1000}"
    assert rows(
        f"--- SIGTERM {siginfo % 2} ---",
        f"""--- SIGTERM {siginfo % "3 /* 20 in strace's PID NS */"} ---""",
        f"--- SIGTERM {siginfo % 77} ---",
        "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---",
        "--- SIGWINCH {si_signo=SIGWINCH, si_code=SI_KERNEL} ---",
    ) == [
        {"kind": "process.signal", "pid": 20, "signal": "SIGTERM", "sender": 20, "code": "SI_USER"},
        {"kind": "process.signal", "pid": 20, "signal": "SIGTERM", "sender": 20, "code": "SI_USER"},
        {"kind": "process.signal", "pid": 20, "signal": "SIGTERM", "code": "SI_USER"},
        {"kind": "process.signal", "pid": 20, "signal": "SIGSEGV", "code": "SEGV_MAPERR"},
    ]


def test_memory_that_becomes_executable() -> None:
    assert rows(
        "mprotect(0x7f9b6aa00000, 4096, PROT_READ) = 0",
        "mprotect(0x7f9b6aa00000, 4096, PROT_READ|PROT_EXEC) = 0",
        "pkey_mprotect(0x7f9b6aa00000, 8192, PROT_READ|PROT_WRITE|PROT_EXEC, -1) = 0",
        "mprotect(0x7f9b6aa00000, 18446744073709551615, PROT_EXEC) = -1 ENOMEM (Cannot allocate memory)",
    ) == [
        {"kind": "memory.exec", "pid": 20, "call": "mprotect", "size": 4096},
        {"kind": "memory.exec", "pid": 20, "call": "pkey_mprotect", "size": 8192, "writable": True},
        {"kind": "memory.exec", "pid": 20, "call": "mprotect", "errno": "ENOMEM"},
    ]


def test_a_compilers_memory_does_not_fill_the_evidence() -> None:
    found = rows(*(f"mprotect(0x7f9b6aa00000, {size}, PROT_READ|PROT_EXEC) = 0" for size in range(4096, 5096)))
    assert len(found) == 8


def test_a_timers_signals_do_not_fill_the_evidence() -> None:
    alarms = ["--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---"] * 100
    found = rows(*alarms, "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_TKILL, si_pid=2, si_uid=1000} ---")
    assert [row["signal"] for row in found] == ["SIGALRM"] * 8 + ["SIGUSR1"]
