"""Labels on what we make in Docker, and the removal of what a crash left."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import msgspec
import psutil

from sandbox.pod.docker.engine import explained
from sandbox.pod.docker.images import RECIPE_LABEL, REPOSITORIES

if TYPE_CHECKING:
    from collections.abc import Collection

    from docker import DockerClient
    from docker.models.containers import Container

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
        found = client.containers.list(all=True, filters={"label": WORKER}, ignore_removed=True)
        orphans = [container for container in found if not _alive(container.labels.get(WORKER, ""))]
        for container in orphans:
            remove(container)
    return Removed(containers=tuple(sorted(str(container.name) for container in orphans)))


def remove(container: Container) -> None:
    """Remove a container, whatever it does; one that is being removed already is no error."""
    with contextlib.suppress(docker.errors.NotFound):
        try:
            container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code != 409:  # noqa: PLR2004 - conflict: its removal is in progress
                raise


def prune(client: DockerClient, keep: Collection[str]) -> Removed:
    """Remove orphaned containers, and images of ours that are not to be kept.

    Args:
        client: The engine.
        keep: Ids of images that are current.

    Raises:
        PodError: The engine refuses.
    """
    orphans = remove_orphans(client)
    images = []
    with explained("remove old images"):
        # First what was built on others.
        for repository in reversed(REPOSITORIES):
            for image in client.images.list(name=repository, filters={"label": RECIPE_LABEL}):
                if image.id not in keep:
                    name = image.tags[0] if image.tags else str(image.id)
                    with contextlib.suppress(docker.errors.NotFound):
                        client.images.remove(image.id, force=True)
                    images.append(name)
    return Removed(containers=orphans.containers, images=tuple(sorted(images)))
