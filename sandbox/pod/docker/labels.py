"""Labels on what we make in Docker, and the removal of what a crash left."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import msgspec
import psutil
import requests
import structlog

from sandbox.errors import PodError
from sandbox.pod.docker.engine import explained
from sandbox.pod.docker.images import RECIPE_LABEL

if TYPE_CHECKING:
    from docker import DockerClient

_log = structlog.get_logger(__name__)
_SANDBOX, _SHIM = "runsc-", "containerd-shim"
_REMOVAL_SECONDS = 15
_ORPHANS_SECONDS = 45
_BEGINNING_SECONDS = 600
"""A container that has not begun after so long never will."""
_ENDED = frozenset({"created", "exited", "dead"})
_STARTED = 19
"""Place of a process's start among the words after its name in /proc/PID/stat (field 22)."""
RUN, ATTEMPT = "fumehood.run", "fumehood.attempt"
"""A run can take several pods: those of the self-test, and its own."""
WORKER, ROLE = "fumehood.worker", "fumehood.role"


def labels(run: str, attempt: str, role: str) -> dict[str, str]:
    """The labels of a container.

    Args:
        run: Id of the run, as in its manifest.
        attempt: Random id of the pod, which the containers' names have too.
        role: `gateway` or `tracee`.
    """
    return {RUN: run, ATTEMPT: attempt, WORKER: worker(os.getpid()), ROLE: role}


def worker(pid: int) -> str:
    """A name for a process that no other has had or will have: boot, pid namespace, pid, start in ticks since the boot.

    None of these changes with the wall clock.

    Raises:
        OSError: There is no such process.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    started = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[_STARTED].decode()
    return f"{boot}/{namespace}/{pid}/{started}"


def is_orphan(name: str, state: str, created: float) -> bool:
    """Whether the worker of a container is gone.

    One of an earlier boot is. One in another pid namespace (fumehood in a container, beside this one) cannot be looked
    up from here; as its containers end with it, one of them is an orphan when it has ended, or never began. That takes
    nothing from a worker that lives: such a pod is over.

    Args:
        name: The worker's, from the label.
        state: The container's, as the engine calls it.
        created: When it was made, in seconds since the epoch.
    """
    ours = worker(os.getpid()).split("/")
    words = name.split("/")
    if len(words) != len(ours) or words[0] != ours[0]:
        return True
    if words[1] != ours[1]:
        began = state != "created" or time.time() - created > _BEGINNING_SECONDS
        return state in _ENDED and began
    try:
        return worker(int(words[2])) != name
    except (OSError, ValueError):
        return True


class Removed(msgspec.Struct, frozen=True):
    """What was removed."""

    containers: tuple[str, ...]
    images: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """What could not be removed, and why."""


def remove_orphans(client: DockerClient) -> Removed:
    """Remove containers of ours whose worker is gone. Those of living workers are left alone.

    One that cannot be removed is named and left to the next start; so are those that there is no time for.

    Raises:
        PodError: The engine does not say what there is.
    """
    with explained("look for containers that a crash left"):
        # Not the objects of the library: it would inspect each, and wait for one that hangs.
        found = client.api.containers(all=True, filters={"label": WORKER})
    removed, left = [], []
    until = time.monotonic() + _ORPHANS_SECONDS
    for entry in found:
        if not is_orphan(entry["Labels"].get(WORKER, ""), str(entry.get("State", "")), float(entry.get("Created", 0))):
            continue
        name = ", ".join(str(name).lstrip("/") for name in entry["Names"])
        why = ""
        try:
            if time.monotonic() > until:
                why = "others took too long"
            elif remove(client, str(entry["Id"])):
                removed.append(name)
        except PodError as error:
            why = str(error)
        if why:
            _log.warning("an orphaned container is left for now", container=name, error=why)
            left.append(f"{name}: {why}")
    return Removed(containers=tuple(sorted(removed)), left=tuple(left))


def remove(client: DockerClient, container: str) -> bool:
    """Remove a container by its id, whatever it does; one that is being removed already is no error.

    A sandbox of gVisor may hang so that it does not obey even its own runtime, or live on when the container's start
    has failed; its processes are then killed.

    Returns:
        Whether it was removed by this call, not by another one.

    Raises:
        PodError: The engine refuses.
    """
    api = client.api
    before, api.timeout = api.timeout, _REMOVAL_SECONDS
    try:
        with explained("remove a container"):
            try:
                ours = _remove(client, container)
            except requests.ReadTimeout:
                _kill_sandbox(container)
                _remove(client, container)
                ours = True
    finally:
        api.timeout = before
    _kill_sandbox(container)
    return ours


def _remove(client: DockerClient, container: str) -> bool:
    try:
        client.api.remove_container(container, force=True, v=True)
    except docker.errors.NotFound:
        return False
    except docker.errors.APIError as error:
        if error.status_code != 409:  # noqa: PLR2004 - conflict: its removal is in progress
            raise
        with contextlib.suppress(docker.errors.NotFound):
            client.api.wait(container, timeout=_REMOVAL_SECONDS, condition="removed")
        return False
    return True


def _kill_sandbox(container: str) -> None:
    """Kill the host's processes that gVisor keeps for a container; they carry its id (64 hex digits) as a word.

    What started them is killed too, as it would wait for ever. Where nothing of gVisor's is left, it ends by itself.
    """
    words = {process: process.info["cmdline"] or [""] for process in psutil.process_iter(["cmdline"])}
    its = {process: words[0] for process, words in words.items() if any(container in word for word in words)}
    if any(program.startswith(_SANDBOX) for program in its.values()):
        for process, program in its.items():
            if program.startswith(_SANDBOX) or Path(program).name.startswith(_SHIM):
                with contextlib.suppress(psutil.Error):
                    process.kill()


def prune(client: DockerClient) -> Removed:
    """Remove orphaned containers, and the images of ours that no container uses; the next run makes what it needs.

    Args:
        client: The engine.

    Raises:
        PodError: The engine refuses.
    """
    orphans = remove_orphans(client)
    images = []
    with explained("remove images"):
        used = {str(entry["ImageID"]) for entry in client.api.containers(all=True)}
        # Also those without a name, which a killed build left. The latest first, as it may be built on others.
        found = client.api.images(filters={"label": RECIPE_LABEL})
        for image in sorted(found, key=lambda image: int(image["Created"]), reverse=True):
            if image["Id"] in used:
                continue
            try:
                client.api.remove_image(image["Id"], force=True)
            except docker.errors.APIError as error:
                if error.status_code not in {404, 409}:  # gone, or what is used was built on it
                    raise
                continue
            images.append(str((image["RepoTags"] or [image["Id"]])[0]))
    return Removed(containers=orphans.containers, images=tuple(sorted(images)), left=orphans.left)
