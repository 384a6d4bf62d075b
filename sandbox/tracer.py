"""The tracer's command line: which system calls are recorded and which are refused, and how.

An explicit list, with `--seccomp-bpf`, so that calls outside it run at full speed. The whole `file` class would add
stat and access storms that cost most and tell least; probes by `stat` alone are therefore not seen (docs/threat-model).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from sandbox.system_calls import system_calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_COSTLY = ("socket",)
"""Traced where every call stops anyway: there, gVisor, the tracer cannot ask the kernel what a socket is."""
STRING_BYTES = 4096
"""Longer strings are cut by strace, which marks them; the collector counts them."""

CALLS: tuple[str, ...] = (
    *("execve", "execveat", "clone", "clone3", "fork", "vfork", "setsid"),
    *("open", "openat", "openat2", "creat", "truncate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "mknod", "mknodat"),
    *("chown", "fchown", "lchown", "fchownat"),
    *("dup", "dup2", "dup3", "fcntl", "close_range", "chdir", "fchdir"),
    *("connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg"),
    *("recvmsg", "recvmmsg"),  # Descriptors arrive by them (SCM_RIGHTS).
    *("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "memfd_create"),
    *("mprotect", "pkey_mprotect"),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"),
    *("setgroups", "capset", "personality"),
)
"""Recorded beside those that are refused (sandbox/system_calls.toml)."""


TracerMode: TypeAlias = Literal["seccomp-bpf", "every-call"]
"""Whether the kernel stops only traced calls (fast), or all of them; see `sandbox.pod.selftest`."""


OUTSIDE = ("--decode-pids=pidns",)
"""For a tracer outside the package's pid namespace: tells its ids of processes beside the package's."""
BESIDE = ("--daemonize=session",)
"""For a tracer in it: the traced command is then our own child, and the tracer goes on after its end. Nothing between
the two sets up namespaces, so those calls are refused as well."""


def command(
    strace: str,
    trace: Path,
    tracee: Sequence[str],
    mode: TracerMode = "seccomp-bpf",
    options: Sequence[str] = OUTSIDE,
) -> list[str]:
    """The command that runs `tracee` and writes every traced call of it and its descendants to `trace`.

    Args:
        strace: Path of strace.
        trace: File that it writes.
        tracee: The command to trace.
        mode: How calls are caught.
        options: `OUTSIDE` or `BESIDE`.
    """
    return [
        strace,
        "--follow-forks",
        *(["--seccomp-bpf"] if mode == "seccomp-bpf" else []),
        *options,
        "--decode-fds=all",
        "--absolute-timestamps=format:unix,precision:us",
        f"--string-limit={STRING_BYTES}",
        "--quiet=attach",
        "--signal=!SIGCHLD",
        f"--trace={','.join(_recorded(mode))}",
        *_refusals("tracer", *(("kernel",) if options == BESIDE else ())),
        f"--output={trace}",
        "--",
        *tracee,
    ]


def _recorded(mode: TracerMode) -> tuple[str, ...]:
    calls = (*CALLS, *system_calls().refused("tracer", "kernel"), *(_COSTLY if mode == "every-call" else ()))
    return tuple(dict.fromkeys(calls))


def _refusals(*answers: str) -> list[str]:
    """Options that make the tracer answer these calls itself; they stand in the trace, and nothing is done."""
    by_error: dict[str, list[str]] = {}
    for call, error in system_calls().refused(*answers).items():
        by_error.setdefault(error, []).append(call)
    return [f"--inject={','.join(calls)}:error={error}" for error, calls in by_error.items()]
