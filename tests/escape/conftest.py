"""One run of all attempts for each pod that can be had here."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.escape.host import Host
from tests.escape.stage import explain, perform
from tests.escape.table import ATTEMPTS
from tests.sandbox.pod import engines
from tests.sandbox.pod.somebody import as_somebody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.images import BaseImage
    from tests.escape.stage import Stage

OF_A_USER = "bubblewrap-of-a-user"
PODS = [
    pytest.param(name, marks=[pytest.mark.pod, *([pytest.mark.docker] if name.startswith("docker") else [])])
    for name in engines.POD_NAMES
]


def runtime_of(pod: str) -> str:
    """`bubblewrap`, `runc` or `runsc`."""
    return "bubblewrap" if pod == OF_A_USER else pod.rpartition("-")[2]


def options_for(pod: str) -> list[str]:
    """Options of `fumehood run` for a pod of the tests."""
    runtime = runtime_of(pod)
    return ["--pod", "bubblewrap"] if runtime == "bubblewrap" else ["--pod", "docker", "--runtime", runtime]


@pytest.fixture(scope="session", params=PODS)
def pod(request: pytest.FixtureRequest) -> str:
    """Each kind of pod in turn."""
    name = str(request.param)
    engines.need(name)
    return name


@pytest.fixture(scope="session", params=[*PODS, pytest.param(OF_A_USER, marks=pytest.mark.pod)])
def stage(request: pytest.FixtureRequest, base_image: BaseImage) -> Iterator[Stage]:
    """What came of all attempts in each kind of pod, and in the embedded pod of somebody who is not root."""
    name = str(request.param)
    engines.need(name.removesuffix(OF_A_USER) or "bubblewrap")
    # Not pytest's own directory, which is closed to other users.
    directory = Path(tempfile.mkdtemp(prefix="fumehood-escape-", dir="/var/tmp"))
    try:
        for path in (
            directory,
            *(directory / part for part in ("bundles", "machine", "home", "cache", "cache/images")),
        ):
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
        with Host(directory / "machine", directory / "bundles") as host:
            yield explain(_performed(name, host, base_image, directory), host, runtime_of(name))
    finally:
        shutil.rmtree(directory)


def _performed(name: str, host: Host, image: BaseImage, directory: Path) -> Path:
    if name != OF_A_USER:
        return perform(ATTEMPTS, host.targets, options_for(name), directory)
    folder = image.rootfs.parent
    (directory / "cache" / "images" / folder.name).symlink_to(folder)
    become = as_somebody(directory, folder) if os.getuid() == 0 else []
    own = {"FUMEHOOD_CACHE": str(directory / "cache"), "HOME": str(directory / "home")}
    return perform(ATTEMPTS, host.targets, options_for("bubblewrap"), directory, become, own)
