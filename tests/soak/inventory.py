"""What there is on this machine that a run of fumehood could leave, as lines that can be compared."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from sandbox.pod.docker import engine, labels
from sandbox.pod.docker.images import RECIPE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import DockerClient

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_COMMON = ("/tmp", "/var/tmp", "/dev/shm", "/run")
"""Where programs leave temporary files that do not ask for TMPDIR."""
_CGROUPS = Path("/sys/fs/cgroup")
_ENGINE_PARTS = ("containers", "image/overlay2/layerdb/sha256", "image/overlay2/layerdb/mounts", "overlay2")
_LOOK_EVERY = 1.0


def machine(*, with_engine: bool) -> frozenset[str]:
    """Everything machine-wide: namespaces, mounts, control groups, temporary files, and what the engine keeps.

    What is not ours comes and goes too; see `lasting`. Containers' processes, namespaces and groups are not looked at
    here, as there may be other engines: ours are found by their ids (`processes`, `of_containers`).
    """
    found = {*_namespaces(), *_mounts(), *_cgroups(), *_temporary()}
    if not with_engine:
        return frozenset(found)
    client = engine.connect()
    try:
        found.update(_engine(client))
    finally:
        client.close()
    return frozenset(found)


def files(work: Path) -> frozenset[str]:
    """Every path in the directories that belong to this soak alone, and the unfinished among its bundles."""
    private = (path for part in ("tmp", "home", "cache") for path in _tree(work / part))
    unfinished = (path for path in work.glob("bundles/*") if path.name.endswith(".partial"))
    return frozenset(f"file {path.relative_to(work)}" for path in (*private, *unfinished))


def processes(work: Path, containers: frozenset[str]) -> frozenset[str]:
    """Living processes of ours: our descendants, those that name or mount our files, those of our containers.

    Args:
        work: Directory that is in the mounts and on the command lines of everything that runs for us.
        containers: Ids of containers that were made for us.
    """
    found = set()
    own = {process.pid for process in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.pid in {parent.pid for parent in psutil.Process().parents()}:
                continue
            command = " ".join(process.cmdline())
            mounts = Path(f"/proc/{process.pid}/mountinfo").read_text(encoding="utf-8", errors="replace")
            named = str(work) in command or any(container in command for container in containers)
            if process.pid in own or named or str(work) in mounts:
                found.add(f"process {process.pid} {process.name()}: {command[:160]}")
    return frozenset(found)


def of_containers(containers: frozenset[str]) -> frozenset[str]:
    """Control groups of these containers."""
    found = (path for path in _directories(_CGROUPS) if path.rpartition("/")[2] in containers)
    return frozenset(f"control group {path}" for path in found)


def holder(line: str) -> str:
    """Who is in a namespace that was found: a process's id and command; empty when nobody is, or it is no namespace."""
    space = line.removeprefix("namespace ")
    for process in psutil.process_iter() if space != line else ():
        with contextlib.suppress(psutil.Error, OSError):
            if str(Path(f"/proc/{process.pid}/ns", space.partition(":")[0]).readlink()) == space:
                return f"{process.pid} {' '.join(process.cmdline())[:160]}"
    return ""


def lasting(look: Callable[[], frozenset[str]], before: frozenset[str], patience: float) -> frozenset[str]:
    """What is there at every look and was not before.

    The kernel and the engine take a moment to bury the dead, and others use this machine as well: only what stays for
    `patience` seconds is left over.
    """
    until = time.monotonic() + patience
    left = look() - before
    while left and time.monotonic() < until:
        time.sleep(_LOOK_EVERY)
        left &= look()
    return left


def containers_made(since: float, workers: frozenset[int]) -> frozenset[str]:
    """Ids of the containers that the engine has made since then for fumehoods with these process ids."""
    client = engine.connect()
    filters = {"type": "container", "event": "create", "label": labels.WORKER}
    try:
        events = list(client.api.events(since=since, until=time.time(), filters=filters, decode=True))
    finally:
        client.close()
    return frozenset(
        str(event["Actor"]["ID"])
        for event in events
        # boot, pid namespace, pid, start
        if int(event["Actor"]["Attributes"][labels.WORKER].split("/")[2]) in workers
    )


def _tree(top: Path) -> Iterator[Path]:
    # Links are not followed: the base root filesystem is one, shared with the user's cache.
    for parent, directories, names in os.walk(top):
        yield from (Path(parent, name) for name in (*directories, *names))


def _namespaces() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        if _is_in_container(process):
            continue
        for kind in _NAMESPACES:
            with contextlib.suppress(OSError):
                yield f"namespace {(process / 'ns' / kind).readlink()}"


def _is_in_container(process: Path) -> bool:
    """Whether a process is a container's, or what an engine keeps for one."""
    try:
        program = (process / "cmdline").read_bytes().partition(b"\0")[0].rpartition(b"/")[2]
        return program.startswith((b"runsc-", b"containerd-shim")) or b"/docker/" in (process / "cgroup").read_bytes()
    except OSError:
        return True  # It has ended.


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        yield f"mount {words[3]} on {words[4]} ({words[words.index('-') + 1]})"


def _cgroups() -> Iterator[str]:
    return (f"control group {path}" for path in _directories(_CGROUPS) if "/docker/" not in path)


def _directories(top: Path) -> Iterator[str]:
    for parent, directories, _ in os.walk(top):
        yield from (os.path.join(parent, name) for name in directories)  # noqa: PTH118 - thousands


def _temporary() -> Iterator[str]:
    for top in _COMMON:
        with contextlib.suppress(OSError):
            yield from (f"file {path}" for path in Path(top).iterdir() if "fumehood" in path.name)


def _engine(client: DockerClient) -> Iterator[str]:
    for container in client.api.containers(all=True, filters={"label": labels.WORKER}):
        yield f"container {container['Id']} {container['Names']}"
    for image in client.api.images(all=True, filters={"label": RECIPE_LABEL}):
        yield f"image {image['Id']} {image['RepoTags']}"
    for volume in client.api.volumes()["Volumes"] or ():
        yield f"volume {volume['Name']}"
    for network in client.api.networks():
        yield f"network {network['Name']}"
    root = Path(client.info()["DockerRootDir"])
    for part in _ENGINE_PARTS:
        with contextlib.suppress(OSError):
            yield from (f"engine's {part}/{path.name}" for path in (root / part).iterdir())
