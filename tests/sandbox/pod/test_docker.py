"""What only the Docker pod promises: nothing is left, limits of the container, and errors that say what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import docker.errors
import pytest
import requests

from sandbox.errors import PodError, UsageError
from sandbox.pod import choose, selftest
from sandbox.pod.docker import engine, labels
from tests.sandbox.pod import engines
from tests.sandbox.pod.bench import Bench, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from sandbox.images import BaseImage
    from sandbox.settings import Settings


@pytest.fixture
def client() -> Iterator[DockerClient]:
    engines.need("docker-runc")
    found = engine.connect()
    yield found
    found.close()


def _ours(client: DockerClient, worker: str) -> list[str]:
    found = client.api.containers(all=True, filters={"label": f"{labels.WORKER}={worker}"})
    return [entry["Names"][0] for entry in found]


@pytest.mark.docker
def test_nothing_is_left_after_a_run_and_what_it_had_was_labelled(
    client: DockerClient, base_image: BaseImage, settings: Settings, tmp_path: Path
) -> None:
    ours = labels.worker(os.getpid())
    directory = tmp_path / "evidence"
    directory.mkdir()
    wanted = choose.Wanted(pod="docker", runtime="runc")
    with choose.choose(wanted, make_plan(base_image, tmp_path), directory, settings.cache, print) as pod:
        assert len(_ours(client, ours)) == 2
        assert Bench(pod, directory).run("/bin/true").status == "completed"
    assert _ours(client, ours) == []


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
with DockerPod(make_plan(image, directory), directory / "evidence", "runc") as pod:
    print("ready", flush=True)
    Bench(pod, directory / "evidence").python("import time; time.sleep(1000)", seconds=1000)
"""


@pytest.mark.docker
@pytest.mark.usefixtures("base_image")
def test_a_killed_worker_leaves_nothing_after_the_next_start(
    client: DockerClient, settings: Settings, tmp_path: Path
) -> None:
    repository = str(Path(__file__).resolve().parents[3])
    code = _WORKER.format(repository=repository, directory=str(tmp_path), cache=str(settings.cache))
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert any(line == "ready\n" for line in worker.stdout)
    name = labels.worker(worker.pid)
    assert len(_ours(client, name)) == 2
    labels.remove_orphans(client)
    assert len(_ours(client, name)) == 2, "a living worker's containers are left alone"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    labels.remove_orphans(client)
    until = time.monotonic() + 20
    # The gateway's container removes itself, as its input has ended.
    while _ours(client, name) and time.monotonic() < until:
        time.sleep(0.1)
    assert _ours(client, name) == []


@pytest.mark.docker
@pytest.mark.usefixtures("client")
def test_memory_that_is_used_up_is_told_and_the_next_phase_runs(
    base_image: BaseImage, settings: Settings, tmp_path: Path
) -> None:
    directory = tmp_path / "evidence"
    directory.mkdir()
    plan = make_plan(base_image, tmp_path, memory_mb=256)
    wanted = choose.Wanted(pod="docker", runtime="runc")
    with choose.choose(wanted, plan, directory, settings.cache, print) as pod:
        bench = Bench(pod, directory)
        phase = bench.python("x = b'x' * (1 << 30)")
        assert (phase.status, phase.limits) == ("oom", ("memory",))
        assert bench.run("/bin/true").status == "completed"


@pytest.mark.docker
@pytest.mark.usefixtures("client")
def test_a_runtime_that_is_not_registered_is_named(base_image: BaseImage, tmp_path: Path) -> None:
    wanted = choose.Wanted(pod="docker", runtime="no-such-runtime")
    with pytest.raises(PodError, match=r"does not know the runtime 'no-such-runtime': use one of .*runc"):
        choose.choose(wanted, make_plan(base_image, tmp_path), tmp_path, tmp_path, print)


def test_a_runtime_needs_docker(base_image: BaseImage, tmp_path: Path) -> None:
    wanted = choose.Wanted(pod="bubblewrap", runtime="runsc")
    with pytest.raises(UsageError, match="--pod docker"):
        choose.choose(wanted, make_plan(base_image, tmp_path), tmp_path, tmp_path, print)


@pytest.mark.pod
def test_without_an_engine_auto_takes_the_embedded_pod(
    base_image: BaseImage, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    told: list[str] = []
    plan = make_plan(base_image, tmp_path)
    pod = choose.choose(choose.Wanted(pod="auto"), plan, tmp_path, settings.cache, told.append)
    assert pod.isolation.pod == "bubblewrap"
    (line,) = told
    assert line.startswith("pod: bubblewrap (")
    assert "there is no Docker engine" in line


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Permission denied", "group `docker`"),
        ("Connection refused", "start it"),
        ("write /x: no space left on device", "disk that holds Docker's data is full"),
        ("Unknown runtime specified foo", "register it"),
        ("No such image: x", "run again"),
        ("client version 1.50 is too new", "19.03"),
        ("something else", "the Docker engine says: something else"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(said: str, advice: str) -> None:
    for error in (docker.errors.DockerException(said), requests.ConnectionError(said)):
        line = engine.explain("do it", error)
        assert line.startswith("cannot do it: ")
        assert advice in line
        assert "\n" not in line


_COMPLETE = "".join(
    [f'openat(AT_FDCWD</>, "/fumehood-self-test/fork{n}/{i}") = -1\n' for n in range(8) for i in range(10)]
    + [f'openat(AT_FDCWD</>, "/fumehood-self-test/thread{n}/{i}") = -1\n' for n in range(4) for i in range(10)]
    + [f'openat(AT_FDCWD</>, "/fumehood-self-test/program{n}/0") = -1\n' for n in range(5)]
    + ['execve("/bin/cat", ["cat"]) = 0\n' for n in range(5)]
)


def test_the_self_test_counts() -> None:
    assert selftest.missing(_COMPLETE) == ""
    lines = _COMPLETE.splitlines(keepends=True)
    assert selftest.missing("".join(lines[1:])) == "1 of 125 opens are not in the trace"
    assert selftest.missing("".join(lines[:-1])) == "1 of 5 programs are not in the trace"
    assert selftest.missing("") == "125 of 125 opens are not in the trace"
