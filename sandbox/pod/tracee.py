"""Command lines for the two bubblewraps of the embedded pod: the package's and the gateway's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.pod.interface import TRACEE_UID
from sandbox.pod.outcome import CPU_GRACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox.pod.tools import Tools
    from sandbox.profile import Limits

_MEGABYTE = 1 << 20
REGISTRY_SOCKET = "/tmp/registry.sock"  # noqa: S108 - in the gateway's own file system
"""Where the gateway sees the registry's socket: a short path, as one of a socket may have 107 bytes."""


def limited(tools: Tools, limits: Limits, command: Sequence[str]) -> list[str]:
    """`command` under the profile's resource limits, which its descendants inherit and cannot raise."""
    return [
        tools.prlimit,
        f"--as={limits.address_mb * _MEGABYTE}",
        f"--nproc={limits.processes}",
        f"--fsize={limits.file_mb * _MEGABYTE}",
        f"--nofile={limits.open_files}",
        f"--cpu={limits.cpu_seconds + CPU_GRACE}",
        "--core=0",
        "--memlock=0",
        *command,
    ]


def unprivileged(tools: Tools, command: Sequence[str], *, own_uid: bool) -> list[str]:
    """`command` without a capability, also none to be had again; as the tracee's own uid where the pod maps one.

    Where it does not, `command` (bubblewrap, which drops it) keeps the one without which the kernel lets nobody map
    the pod's root into another user namespace (user_namespaces(7), since Linux 5.12).
    """
    if own_uid:
        identity, kept = [f"--reuid={TRACEE_UID}", f"--regid={TRACEE_UID}", "--clear-groups"], "-all"
    else:
        identity, kept = [], "-all,+setfcap"
    return [tools.setpriv, *identity, "--inh-caps=-all", f"--bounding-set={kept}", *command]


def tracee(tools: Tools, stage: str, home: str, hostname: str, descriptors: tuple[int, int]) -> list[str]:
    """The package's own bubblewrap: read-only root, bounded writable places, new pid, ipc and uts namespaces.

    No `--die-with-parent`: a process that outlives its phase is watched until `linger` ends.

    Args:
        tools: Where bubblewrap is.
        stage: Directory over which the pod's file system is mounted.
        home: Working directory inside.
        hostname: The tracee's.
        descriptors: Where bubblewrap writes its status, and from where it reads the system call filter.
    """
    status, call_filter = descriptors
    binds = [(f"{stage}/tmp", "/tmp"), (f"{stage}/var-tmp", "/var/tmp"), (f"{stage}/run", "/run")]  # noqa: S108
    binds += [(f"{stage}/shm", "/dev/shm"), (f"{stage}/home", "/home")]  # noqa: S108
    etc = ("passwd", "group", "hosts", "resolv.conf", "hostname", "pip.conf", "ssl/certs/ca-certificates.crt")
    return [
        tools.bwrap,
        # No user namespace of its own making either: in one it could mount, and give files other names.
        *(
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ),
        *("--uid", str(TRACEE_UID), "--gid", str(TRACEE_UID), "--hostname", hostname, "--new-session"),
        *("--cap-drop", "ALL"),
        *("--ro-bind", f"{stage}/rootfs", "/", "--dev", "/dev", "--proc", "/proc"),
        *(word for source, target in binds for word in ("--bind", source, target)),
        # A tmpfs of bubblewrap's, half as large as the machine's memory: nothing would bound or list what is put there.
        *("--remount-ro", "/dev"),
        *(word for name in etc for word in ("--ro-bind", f"{stage}/etc/{name}", f"/etc/{name}")),
        *("--ro-bind", f"{stage}/artefact", "/opt/artefact"),
        *("--chdir", home, "--json-status-fd", str(status), "--seccomp", str(call_filter), "--"),
    ]


def _runtime_paths() -> Iterator[str]:
    """What our own Python needs to be seen in the gateway's file system."""
    for name in ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin"):
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.exists():
            yield from ("--ro-bind", name, name)
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
    code = str(Path(__file__).resolve().parents[2])
    for name in dict.fromkeys((sys.base_prefix, sys.prefix, code)):
        if not name.startswith("/usr/"):
            yield from ("--ro-bind", name, name)


def gateway(tools: Tools, directory: Path, config: Path, registry_socket: Path) -> list[str]:
    """The gateway's bubblewrap: sees Python, its own directory and the registry socket; CAP_NET_RAW for the tap."""
    return [
        tools.bwrap,
        *("--unshare-ipc", "--unshare-uts", "--new-session", "--die-with-parent"),
        *("--cap-drop", "ALL", "--cap-add", "CAP_NET_RAW"),
        # First the empty /tmp: what is bound after it may lie below it.
        *("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108
        *_runtime_paths(),
        *("--bind", str(directory), str(directory)),
        *("--ro-bind", str(registry_socket), REGISTRY_SOCKET),
        *("--chdir", str(directory), "--", sys.executable, "-P", "-m", "sandbox.gateway", str(config)),
    ]
