"""Containers whose worker is gone are found by their labels and removed; those of living workers never."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import PodError
from sandbox.pod.docker import images, labels
from sandbox.pod.tools import find_tools
from tests.sandbox.pod import engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import DockerClient

    from sandbox.images import BaseImage
    from sandbox.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.pod, pytest.mark.alone]


@pytest.fixture
def contain(client: DockerClient, base_image: BaseImage) -> Iterator[Callable[..., str]]:
    """Make a container with the label of a worker; gives its name. Ended ones have run already."""
    image = images.ensure(client, base_image.rootfs, find_tools().strace).tracee
    made = []

    def make(worker: str, *, ended: bool = False) -> str:
        container = client.containers.create(
            image,
            entrypoint=["/bin/true"] if ended else ["/bin/sleep", "1000"],
            name=f"fumehood-test-{secrets.token_hex(4)}",
            labels={labels.WORKER: worker, labels.ROLE: "tracee", labels.RUN: "test"},
            network_mode="none",
            runtime="runc",
        )
        made.append(container)
        container.start()
        if ended:
            container.wait(timeout=120)
        return str(container.name)

    yield make
    for container in made:
        labels.remove(client, str(container.id))


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that could be a worker."""
    process = subprocess.Popen(["/bin/sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def _present(client: DockerClient) -> set[str]:
    found = client.api.containers(all=True, filters={"label": labels.WORKER})
    return {entry["Names"][0].lstrip("/") for entry in found}


def test_only_what_has_lost_its_worker_is_removed(
    client: DockerClient, contain: Callable[..., str], other: subprocess.Popen[bytes]
) -> None:
    boot, namespace, pid, start = labels.worker(other.pid).split("/")
    lives = contain(labels.worker(other.pid))
    elsewhere = contain(f"{boot}/1/{pid}/{start}")
    orphans = {
        contain(f"{boot}/{namespace}/{pid}/{int(start) - 1}"),  # who had its number before
        contain(f"{boot}/{namespace}/{2**22 + 1}/{start}"),  # no process has this one
        contain(f"another-boot/{namespace}/{pid}/{start}"),
        contain(f"{boot}/1/{pid}/{start}", ended=True),
        contain("nonsense"),
    }
    removed = labels.remove_orphans(client)
    assert orphans <= set(removed.containers)
    assert removed.left == ()
    assert orphans & _present(client) == set()
    assert {lives, elsewhere} <= _present(client)
    other.kill()
    other.wait()
    assert lives in labels.remove_orphans(client).containers
    assert elsewhere in _present(client), "nobody here can know"


def test_the_name_of_a_worker_does_not_hang_on_the_wall_clock(
    other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = labels.worker(other.pid)
    assert labels.worker(os.getpid()) != name
    # psutil's answer moves with the clock.
    monkeypatch.setattr("psutil.Process.create_time", lambda _: 0.0)
    assert labels.worker(other.pid) == name
    assert labels.is_orphan(name, "running", time.time()) is False


@pytest.mark.parametrize(
    ("state", "age", "orphan"),
    [("running", 1e6, False), ("created", 1, False), ("created", 1e6, True), ("exited", 1, True), ("dead", 1, True)],
)
def test_a_worker_that_cannot_be_looked_up_keeps_what_may_still_run(state: str, age: float, *, orphan: bool) -> None:
    boot, _, pid, start = labels.worker(os.getpid()).split("/")
    assert labels.is_orphan(f"{boot}/1/{pid}/{start}", state, time.time() - age) is orphan


def test_one_that_cannot_be_removed_does_not_keep_the_others(
    client: DockerClient, contain: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn, meek = contain("gone/1/1/1"), contain("gone/1/1/1")
    number = client.api.inspect_container(stubborn)["Id"]
    really = labels.remove

    def remove(connection: DockerClient, container: str) -> bool:
        if container == number:
            raise PodError("it hangs")
        return really(connection, container)

    with monkeypatch.context() as patched:
        patched.setattr(labels, "remove", remove)
        removed = labels.remove_orphans(client)
    assert meek in removed.containers
    assert removed.left == (f"{stubborn}: it hangs",)
    assert stubborn in labels.remove_orphans(client).containers


_WORKER = """
import sys
from pathlib import Path
sys.path[:0] = [{repository!r}]
from sandbox import images
from sandbox.pod.docker.pod import DockerPod
from tests.sandbox.pod.bench import Bench, make_plan
directory = Path({directory!r})
image = images.ensure("debian12-python", Path({cache!r}), print)
(directory / "evidence").mkdir()
with DockerPod(make_plan(image, directory), directory / "evidence", {runtime!r}) as pod:
    print("ready", flush=True)
    Bench(pod, directory / "evidence").python("import time; time.sleep(1000)", seconds=1000)
"""


@pytest.mark.parametrize("runtime", engines.RUNTIMES)
@pytest.mark.usefixtures("base_image")
def test_a_killed_worker_leaves_nothing_after_the_next_start(
    client: DockerClient, settings: Settings, tmp_path: Path, runtime: str
) -> None:
    engines.need(f"docker-{runtime}")
    code = _WORKER.format(
        repository=str(Path(__file__).resolve().parents[3]),
        directory=str(tmp_path),
        cache=str(settings.cache),
        runtime=runtime,
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert any(line == "ready\n" for line in worker.stdout)
        name = labels.worker(worker.pid)
        ours = {
            entry["Labels"][labels.ROLE]: entry["Names"][0].lstrip("/")
            for entry in client.api.containers(filters={"label": f"{labels.WORKER}={name}"})
        }
        assert sorted(ours) == ["gateway", "tracee"]
        labels.remove_orphans(client)
        assert set(ours.values()) <= _present(client), "a living worker's containers are left alone"
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
    removed = labels.remove_orphans(client)
    assert ours["tracee"] in removed.containers
    until = time.monotonic() + 120
    # The gateway's container removes itself, as its input has ended; who comes first is open.
    while set(ours.values()) & _present(client) and time.monotonic() < until:
        time.sleep(0.1)
    assert set(ours.values()) & _present(client) == set()
