"""A small soak for each pod, and whether what it looks for would be found."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.pod import engines
from tests.soak import inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.images import BaseImage

pytestmark = [pytest.mark.pod, pytest.mark.alone]
_ROOT = Path(__file__).resolve().parents[2]
_RUNS, _KILLS = 12, 6


@pytest.fixture(scope="module")
def soaks(request: pytest.FixtureRequest, base_image: object) -> dict[str, subprocess.CompletedProcess[str]]:  # noqa: ARG001 - built before
    """Those of all pods that are asked for, at the same time: what one uses does not stay, and is no leftover."""
    pods = [
        str(item.callspec.params["pod"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_nothing_stays_behind
    ]
    with ThreadPoolExecutor(len(pods)) as pool:
        asked = [pod for pod in pods if not engines.lack(pod)]
        return dict(zip(asked, pool.map(_soak, asked), strict=True))


def _soak(pod: str) -> subprocess.CompletedProcess[str]:
    kind, _, runtime = pod.partition("-")
    words = ["--pod", kind, "--runtime", runtime, "--runs", str(_RUNS), "--kills", str(_KILLS), "--seed", "7"]
    command = [sys.executable, "-m", "tests.soak", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=_ROOT)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pod", ["bubblewrap", pytest.param("docker-runc", marks=pytest.mark.docker)])
def test_nothing_stays_behind(pod: str, soaks: dict[str, subprocess.CompletedProcess[str]]) -> None:
    engines.need(pod)
    done = soaks[pod]
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{_KILLS} killed, seed 7" in done.stdout
    assert "0 things left, 0 ordinary runs ended wrong" in done.stdout


@contextmanager
def _left_behind(work: Path, base_image: BaseImage) -> Iterator[subprocess.Popen[bytes]]:
    """A process in namespaces of its own, with a mount of the soak's directory: what a leaking pod would look like."""
    (work / "tmp").mkdir()
    spaces = [
        "--die-with-parent",
        "--unshare-user",
        "--unshare-net",
        "--unshare-pid",
        "--ro-bind",
        str(base_image.rootfs),
        "/",
    ]
    command = ["bwrap", *spaces, "--bind", str(work / "tmp"), "/tmp", "sh", "-c", "echo ready; exec sleep 60"]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True))
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process


def test_what_is_left_is_noticed(tmp_path: Path, base_image: BaseImage) -> None:
    before = inventory.machine(with_engine=False)
    others = inventory.processes(tmp_path, frozenset())
    with _left_behind(tmp_path, base_image) as process:
        (tmp_path / "tmp/fumehood-x").touch()
        (tmp_path / "bundles/one.partial").mkdir(parents=True)
        (tmp_path / "bundles/whole").mkdir()
        new = inventory.lasting(lambda: inventory.machine(with_engine=False), before, 2)
        for kind in ("net", "user", "pid", "mnt"):
            space = Path(f"/proc/{_only_child(process)}/ns/{kind}").readlink()
            assert f"namespace {space}" in new
            assert re.match("[0-9]+ (bwrap|sh|sleep) ", inventory.holder(f"namespace {space}"))
        found = inventory.processes(tmp_path, frozenset())
        assert any("sleep 60" in line for line in found)
        assert inventory.files(tmp_path) == {"file tmp/fumehood-x", "file bundles/one.partial"}
    left = inventory.lasting(lambda: inventory.processes(tmp_path, frozenset()), others, 20)
    assert left == set()


def _only_child(process: subprocess.Popen[bytes]) -> int:
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def test_what_goes_away_in_time_is_not_left() -> None:
    looks = iter([{"a", "b", "old"}, {"b", "c", "old"}, {"c", "old"}])
    assert inventory.lasting(lambda: frozenset(next(looks)), frozenset({"old"}), 60) == set()
