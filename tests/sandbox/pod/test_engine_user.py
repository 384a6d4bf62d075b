"""The Docker pod of somebody who is not root but may use the engine: what root writes in it is theirs to read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from collector import manifest
from sandbox.images import BaseImage
from sandbox.pod import choose
from tests.sandbox.pod import engines
from tests.sandbox.pod.bench import Bench, make_plan
from tests.sandbox.pod.somebody import UID, as_somebody

pytestmark = [pytest.mark.docker, pytest.mark.pod]

_ROOT = Path(__file__).resolve().parents[3]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod's owner saw of it."""

    owner: int
    isolation: manifest.Isolation
    phase: manifest.Phase
    printed: str
    traced: bool
    left: list[str]


def _observe(directory: Path, rootfs: Path, python: str, runtime: str) -> _Seen:
    described = manifest.Image(name="base", digest="", python=python, pip="")
    image = BaseImage(rootfs=rootfs, image=described, default_index_url="", registry_hosts=())
    evidence = directory / "evidence"
    evidence.mkdir()
    wanted = choose.Wanted(pod="docker", runtime=runtime)
    with choose.choose(wanted, make_plan(image, directory), evidence, directory / "cache", lambda _: None) as pod:
        bench = Bench(pod, evidence)
        phase = bench.python("open('/nowhere/to/be/found')")
    seen = _Seen(
        owner=os.getuid(),
        isolation=pod.isolation,
        phase=phase,
        printed=bench.output(phase, "stderr"),
        traced="/nowhere/to/be/found" in bench.trace(phase),
        left=[path.name for path in evidence.iterdir() if path.name.startswith("self-test")],
    )
    shutil.rmtree(evidence)
    return seen


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("runtime", engines.RUNTIMES)
def test_whoever_may_use_the_engine_has_a_docker_pod(base_image: BaseImage, place: Path, runtime: str) -> None:
    engines.need(f"docker-{runtime}")
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    home = place / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    become = as_somebody(place, base_image.rootfs, Path(socket.removeprefix("unix://")).stat().st_gid)
    module = [sys.executable, "-m", "tests.sandbox.pod.test_engine_user"]
    done = subprocess.run(
        [*become, *module, home, base_image.rootfs, base_image.image.python, runtime],
        check=False,
        capture_output=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(_ROOT), "DOCKER_HOST": socket},
    )
    assert done.returncode == 0, done.stderr.decode()
    seen = msgspec.json.decode(done.stdout, type=_Seen)
    assert (seen.owner, seen.isolation.outer_user, seen.isolation.self_test) == (UID, "user", "passed")
    assert (seen.phase.status, seen.phase.exit_code, seen.phase.trace_complete) == ("failed", 1, True)
    assert "No such file or directory" in seen.printed
    assert seen.traced
    assert seen.left == []


if __name__ == "__main__":
    observed = _observe(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    sys.stdout.write(msgspec.json.encode(observed).decode())
