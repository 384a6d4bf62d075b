"""Labels on what we make in Docker, and the removal of what a crash left."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import msgspec
import psutil
import requests

from sandbox.pod.docker.engine import explained
from sandbox.pod.docker.images import RECIPE_LABEL, REPOSITORIES

if TYPE_CHECKING:
    from docker import DockerClient

_REMOVAL_SECONDS = 15
RUN, WORKER, ROLE = "fumehood.run", "fumehood.worker", "fumehood.role"


def labels(run: str, role: str) -> dict[str, str]:
    """The labels of a container.

    Args:
        run: Random id of the pod.
        role: `gateway` or `tracee`.
    """
    return {RUN: run, WORKER: worker(os.getpid()), ROLE: role}


def worker(pid: int) -> str:
    """A name for a process of this machine that no later one can have: boot, pid, time of start."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{pid}/{psutil.Process(pid).create_time():.2f}"


def _alive(name: str) -> bool:
    pid = name.split("/")[1] if name.count("/") == 2 else ""  # noqa: PLR2004 - boot, pid, start
    try:
        return bool(pid) and worker(int(pid)) == name
    except (psutil.Error, ValueError):
        return False


class Removed(msgspec.Struct, frozen=True):
    """What was removed."""

    containers: tuple[str, ...]
    images: tuple[str, ...] = ()


def remove_orphans(client: DockerClient) -> Removed:
    """Remove containers of ours whose worker is gone. Those of living workers are left alone.

    Raises:
        PodError: The engine refuses.
    """
    with explained("look for containers that a crash left"):
        # Not the objects of the library: it would inspect each, and wait for one that hangs.
        found = client.api.containers(all=True, filters={"label": WORKER})
    orphans = [entry for entry in found if not _alive(entry["Labels"].get(WORKER, ""))]
    for entry in orphans:
        remove(client, str(entry["Id"]))
    return Removed(containers=tuple(sorted(str(name).lstrip("/") for entry in orphans for name in entry["Names"])))


def remove(client: DockerClient, container: str) -> None:
    """Remove a container by its id, whatever it does; one that is being removed already is no error.

    A sandbox of gVisor may hang so that it does not obey even its own runtime; its processes are then killed.

    Raises:
        PodError: The engine refuses.
    """
    api = client.api
    before, api.timeout = api.timeout, _REMOVAL_SECONDS
    try:
        with explained("remove a container"):
            try:
                _remove(client, container)
            except requests.ReadTimeout:
                _kill_sandbox(container)
                _remove(client, container)
    finally:
        api.timeout = before


def _remove(client: DockerClient, container: str) -> None:
    try:
        client.api.remove_container(container, force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:  # noqa: PLR2004 - conflict: its removal is in progress
            raise
        with contextlib.suppress(docker.errors.NotFound):
            client.api.wait(container, timeout=_REMOVAL_SECONDS, condition="removed")


def _kill_sandbox(container: str) -> None:
    """Kill the host's processes that a runtime keeps for a container; they carry its id (64 hex digits) as a word."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        if words and words[0].startswith("runsc-") and any(container in word for word in words):
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
        # First what was built on others.
        for repository in reversed(REPOSITORIES):
            for image in client.api.images(name=repository, filters={"label": RECIPE_LABEL}):
                if image["Id"] in used:
                    continue
                try:
                    client.api.remove_image(image["Id"], force=True)
                except docker.errors.APIError as error:
                    if error.status_code not in {404, 409}:  # gone, or what is used was built on it
                        raise
                    continue
                images.append(str((image["RepoTags"] or [image["Id"]])[0]))
    return Removed(containers=orphans.containers, images=tuple(sorted(images)))
