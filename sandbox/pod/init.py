"""Process 1 of the embedded pod: makes the namespaces, seals the network, starts the gateway, and waits.

Started by `sandbox.pod.bubblewrap` as `python -m sandbox.pod.init`. It reads one JSON `InitPlan` on a line of its
standard input and answers one line a step: `namespaces` (then waits for `mapped`), and `ready` or `error TEXT`.
Then it answers each `disk` with the space of the pod's file system: bytes in all, bytes free, files that may still be
made; and a line `dropped JSON` (`DroppedOrder`) with `listed` once a child has written what the package left
(`sandbox.pod.dropped`). When it reads `stop`, when its standard input closes because the worker was killed, or when the
gateway dies, it exits, and the kernel ends every process of the pod with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from sandbox.pod import dropped, kernel, network

_PATIENCE = 5.0
"""Seconds the gateway may take to write what is pending."""


class InitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What process 1 has to make."""

    stage: str
    """Existing directory, not needed by anything of ours, over which the pod's tmpfs is mounted."""
    rootfs: str
    disk_bytes: int
    owner: int
    """Uid and gid, inside the pod's user namespace, that own the tracee's writable directories."""
    home: str
    """Home directory in the tracee, `/home/NAME`."""
    files: dict[str, bytes]
    """By path relative to the stage."""
    links: dict[str, str]
    """Symbolic links, by path relative to the stage."""
    private: tuple[str, ...]
    """Paths of `files` with mode 0600."""
    artefact: str
    tcp_port: int
    dns_port: int
    ip: str
    nft: str
    gateway: tuple[str, ...]
    gateway_environment: dict[str, str]
    gateway_log: str
    dropped: str
    """File for the list of what the package left."""


class DroppedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker knows only at the end; see `sandbox.pod.dropped.Plan`."""

    site_packages: str
    settled: float


_WRITABLE = {"/tmp": "tmp", "/var/tmp": "var-tmp", "/dev/shm": "shm", "/run": "run"}  # noqa: S108 - the tracee's
"""The tracee's places, home apart, and what they are called below the stage."""


def _line() -> bytes:
    """The next line of standard input. The worker says nothing more before it is answered."""
    line = bytearray()
    while not line.endswith(b"\n") and (chunk := os.read(0, 1 << 20)):
        line += chunk
    return bytes(line)


def _say(text: str) -> None:
    os.write(1, text.encode(errors="backslashreplace") + b"\n")


def _own(path: Path, owner: int, mode: int) -> None:
    path.chmod(mode)
    os.chown(path, owner, owner)


def _make_file_systems(plan: InitPlan) -> None:
    stage = Path(plan.stage)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV)
    options = f"size={plan.disk_bytes},mode=0755,nr_inodes={max(plan.disk_bytes // 8192, 65536)}"
    kernel.mount("tmpfs", plan.stage, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
    (stage / "rootfs").mkdir()
    kernel.mount(plan.rootfs, str(stage / "rootfs"), "", kernel.MS_BIND)
    for name in _WRITABLE.values():
        (stage / name).mkdir()
        _own(stage / name, plan.owner, 0o1777 if name != "run" else 0o755)
    home = stage / plan.home.lstrip("/")
    home.mkdir(parents=True)
    _own(home, plan.owner, 0o755)
    artefacts = stage / "artefact"
    artefacts.mkdir()
    (artefacts / Path(plan.artefact).name).touch()
    kernel.mount(plan.artefact, str(artefacts / Path(plan.artefact).name), "", kernel.MS_BIND)
    for name, content in plan.files.items():
        mode = 0o600 if name in plan.private else 0o644
        path = _place(plan, name, mode)
        path.write_bytes(content)
        if home in path.parents:
            _own(path, plan.owner, mode)
    for name, target in plan.links.items():
        path = _place(plan, name, 0o644)
        path.symlink_to(target)
        os.lchown(path, plan.owner, plan.owner)


def _place(plan: InitPlan, name: str, mode: int) -> Path:
    """The path of a file below the stage; its directories are made, the package's own below its home."""
    stage = Path(plan.stage)
    home = stage / plan.home.lstrip("/")
    path = stage / name
    for directory in reversed(path.parents):
        if stage in directory.parents and not directory.exists():
            directory.mkdir()
            if home in directory.parents:
                _own(directory, plan.owner, 0o755 if mode & 0o044 else 0o700)
    return path


def _start_gateway(plan: InitPlan) -> subprocess.Popen[bytes]:
    with Path(plan.gateway_log).open("wb") as log:
        gateway = subprocess.Popen(
            plan.gateway,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=plan.gateway_environment,
            cwd="/",
        )
    pipe = gateway.stdout
    if pipe is None or pipe.readline().strip() != b"ready":
        raise OSError(f"the gateway did not start: {_tail(Path(plan.gateway_log))}")
    return gateway


def _tail(path: Path) -> str:
    lines = path.read_text(errors="backslashreplace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def _process_one(plan: InitPlan) -> int:
    kernel.die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        os.setgid(0)
        os.setuid(0)
        _make_file_systems(plan)
        network.seal(plan.ip, plan.nft, plan.tcp_port, plan.dns_port)
        gateway = _start_gateway(plan)
    except subprocess.CalledProcessError as error:
        _say(f"error {error.cmd[0]}: {error.stderr or error.stdout or error}".replace("\n", " "))
        return 1
    except OSError as error:
        _say(f"error {error}".replace("\n", " "))
        return 1
    _say("ready")
    return _hold(gateway, plan)


def _list_dropped(plan: InitPlan, order: DroppedOrder) -> int:
    """Have a child list what the package left; its pidfd, or -1 when it has ended already or cannot be had."""
    try:
        child = os.fork()
    except OSError:
        # Out of processes or memory. The pod is still to be ended in order; a list that is not there is told.
        return -1
    if child:
        try:
            return os.pidfd_open(child)
        except ProcessLookupError:
            return -1
    code = 1
    try:
        home = plan.home.lstrip("/")
        places = {place: f"{plan.stage}/{name}" for place, name in _WRITABLE.items()}
        looked = dropped.Plan(
            places={**places, "/home": f"{plan.stage}/home"},
            planted={f"/{name}": content for name, content in plan.files.items() if name.startswith(f"{home}/")},
            links={f"/{name}": target for name, target in plan.links.items()},
            site_packages=order.site_packages,
            settled=order.settled,
        )
        dropped.write(looked, plan.dropped)
        code = 0
    finally:
        # Whatever became of it: a list without its end is told as such.
        os._exit(code)


def _hold(gateway: subprocess.Popen[bytes], plan: InitPlan) -> int:
    """Keep the pod until the worker says `stop`, the worker is gone, or the gateway is."""
    watched = os.pidfd_open(gateway.pid)
    listing = -1
    # The orphans of ended phases come to us; ignored, the kernel buries them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([0, watched, *([listing] if listing >= 0 else [])], [], [])
        if watched in ready:
            # A pod without its gateway would go on unrecorded.
            return 1
        if listing in ready:
            os.close(listing)
            listing = -1
            _say("listed")
        if 0 not in ready:
            continue
        said = os.read(0, 4096)
        word, _, order = said.strip().partition(b" ")
        if not said:
            return 1
        if word == b"dropped" and listing < 0:
            listing = _list_dropped(plan, msgspec.json.decode(order, type=DroppedOrder))
            if listing < 0:
                _say("listed")
        elif word == b"disk":
            space = os.statvfs(plan.stage)
            _say(f"{space.f_blocks * space.f_frsize} {space.f_bfree * space.f_frsize} {space.f_ffree}")
        elif b"stop" in said.split():
            _stop(gateway)
            return 0


def _stop(gateway: subprocess.Popen[bytes]) -> None:
    """End the gateway in order."""
    # bubblewrap stands between: it would die of the signal, and take the gateway with it before its last word.
    for child in Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text(encoding="ascii").split():
        os.kill(int(child), signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        gateway.wait(timeout=_PATIENCE)


def main() -> int:
    """Make the namespaces and become the parent of process 1."""
    kernel.die_with_parent(signal.SIGKILL)
    line = _line()
    if not line.endswith(b"\n"):
        return 1  # The worker was killed while it wrote.
    plan = msgspec.json.decode(line, type=InitPlan)
    flags = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID
    try:
        kernel.unshare(flags | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    except OSError as error:
        _say(f"error {error}")
        return 1
    _say("namespaces")
    if _line().strip() != b"mapped":
        return 1
    child = os.fork()
    if child == 0:
        os._exit(_process_one(plan))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
