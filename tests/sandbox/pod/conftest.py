"""The fixture that starts real pods, of each kind that can be had here."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.pod import choose
from sandbox.pod.bubblewrap import BubblewrapPod
from sandbox.pod.docker import engine
from tests.sandbox.pod import engines
from tests.sandbox.pod.bench import Bench, StartPod, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from sandbox.images import BaseImage
    from sandbox.settings import Settings


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.docker] if name.startswith("docker") else [])
        for name in engines.POD_NAMES
    ]
)
def pod_name(request: pytest.FixtureRequest) -> str:
    """Each kind of pod in turn: `bubblewrap`, `docker-runc`, `docker-runsc`."""
    name = str(request.param)
    engines.need(name)
    return name


@pytest.fixture
def client() -> Iterator[DockerClient]:
    """The engine that is here."""
    engines.need("docker-runc")
    found = engine.connect()
    yield found
    found.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, unlike those of pytest, with a name that is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="fumehood-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start_bubblewrap(base_image: BaseImage, tmp_path: Path) -> StartPod:
    """The embedded pod alone, for what looks at its processes on this machine."""

    @contextmanager
    def start(**limits: int) -> Iterator[Bench]:
        directory = tmp_path / "evidence"
        directory.mkdir()
        with BubblewrapPod(make_plan(base_image, tmp_path, **limits), directory) as pod:
            yield Bench(pod, directory)

    return start


@pytest.fixture
def start_pod(base_image: BaseImage, tmp_path: Path, settings: Settings, pod_name: str) -> StartPod:
    """Start a pod with evidence in `tmp_path/evidence`; limits of the profile may be changed by name."""
    kind, _, runtime = pod_name.partition("-")
    wanted = choose.Wanted(pod="docker" if kind == "docker" else "bubblewrap", runtime=runtime)

    @contextmanager
    def start(**limits: int) -> Iterator[Bench]:
        directory = tmp_path / "evidence"
        directory.mkdir()
        plan = make_plan(base_image, tmp_path, **limits)
        with choose.choose(wanted, plan, directory, settings.cache, print) as pod:
            yield Bench(pod, directory)

    return start
