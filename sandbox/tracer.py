"""The tracer's command line: which system calls are recorded, and how.

An explicit list, with `--seccomp-bpf`, so that calls outside it run at full speed. The whole `file` class would add
stat and access storms that cost most and tell least; probes by `stat` alone are therefore not seen (docs/threat-model).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

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
    *("dup2", "dup3", "chdir", "fchdir"),
    *("connect", "bind", "listen", "sendto", "sendmsg", "sendmmsg"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kill", "tkill"),
    *("memfd_create", "mount", "umount2", "setns", "unshare", "pivot_root", "chroot"),
    *("open_tree", "move_mount", "fsopen", "fsmount", "mount_setattr"),
    *("init_module", "finit_module", "bpf", "io_uring_setup", "userfaultfd", "perf_event_open", "keyctl"),
    *("setuid", "setgid", "setreuid", "setresuid", "personality"),
)


TracerMode: TypeAlias = Literal["seccomp-bpf", "every-call"]
"""Whether the kernel stops only traced calls (fast), or all of them; see `sandbox.pod.selftest`."""


OUTSIDE = ("--decode-pids=pidns",)
"""For a tracer outside the package's pid namespace: tells its ids of processes beside the package's."""
BESIDE = ("--daemonize=session",)
"""For a tracer in it: the traced command is then our own child, and the tracer goes on after its end."""


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
        "--quiet=attach,thread-execve",
        "--signal=!SIGCHLD",
        f"--trace={','.join(CALLS if mode == 'seccomp-bpf' else (*CALLS, *_COSTLY))}",
        f"--output={trace}",
        "--",
        *tracee,
    ]
