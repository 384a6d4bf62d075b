"""Which pod a run gets, and that a self-test which could not be completed neither refuses it nor lets it look clean."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from sandbox.errors import PodError, UsageError
from sandbox.pod import choose, selftest
from sandbox.pod.bubblewrap import BubblewrapPod
from tests.sandbox.pod import engines
from tests.sandbox.pod.bench import make_plan
from tests.sandbox.pod.said_engine import FIT, speaking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.manifest import Phase
    from sandbox.images import BaseImage
    from sandbox.pod.interface import PhaseCommand, Pod
    from sandbox.settings import Settings

pytestmark = pytest.mark.pod


class _Hurried(BubblewrapPod):
    """An embedded pod on a machine that is too busy for the self-test."""

    def run(self, command: PhaseCommand, note: Callable[[str], None]) -> Phase:
        phase = super().run(command, note)
        if command.name != "self-test":
            return phase
        return msgspec.structs.replace(phase, status="timed-out", reason="not finished after 120 s")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def pick(base_image: BaseImage, tmp_path: Path, told: list[str]) -> Callable[..., Pod]:
    def pick(pod: choose.PodName, runtime: str = "", cache: Path | None = None, **limits: int) -> Pod:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        plan = make_plan(base_image, tmp_path, **limits)
        wanted = choose.Wanted(pod=pod, runtime=runtime)
        return choose.choose(wanted, plan, directory, cache or tmp_path / "cache", told.append)

    return pick


def test_a_proven_pod_says_so_and_the_default_one_is_not_told(pick: Callable[..., Pod], told: list[str]) -> None:
    isolation = pick("bubblewrap").isolation
    assert (isolation.pod, isolation.self_test, isolation.tracer_mode) == ("bubblewrap", "passed", "seccomp-bpf")
    assert told == []


def test_small_limits_of_a_profile_do_not_refuse_the_embedded_pod(pick: Callable[..., Pod]) -> None:
    small = {"memory_mb": 64, "address_mb": 64, "processes": 16, "cpu_seconds": 1, "trace_mb": 1}
    assert pick("bubblewrap", **small).isolation.self_test == "passed"


def test_the_embedded_pod_goes_on_without_proof_and_says_so(
    pick: Callable[..., Pod], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr(choose, "BubblewrapPod", _Hurried)
        pod = pick("bubblewrap")
    assert (pod.isolation.self_test, pod.isolation.tracer_mode) == ("not-completed", "seccomp-bpf")
    (line,) = told
    assert "not proven to see everything" in line
    assert "timed-out (not finished after 120 s)" in line
    assert not (tmp_path / "cache").exists(), "such an answer is not kept"
    assert pick("bubblewrap").isolation.self_test == "passed", "the next run tries again"


def test_auto_goes_on_without_proof_only_where_nothing_else_is(
    pick: Callable[..., Pod], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "BubblewrapPod", _Hurried)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    pod = pick("auto")
    assert (pod.isolation.pod, pod.isolation.self_test) == ("bubblewrap", "not-completed")
    assert "there is no Docker engine" in told[0]


@pytest.mark.docker
def test_a_docker_pod_without_proof_is_refused(
    pick: Callable[..., Pod], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.need("docker-runc")
    monkeypatch.setattr(selftest, "_SECONDS", 0)
    with pytest.raises(PodError, match=r"the tracer's self-test could not be completed: its program timed-out"):
        pick("docker", "runc")
    assert not (tmp_path / "cache").exists()


def test_a_runtime_needs_docker(pick: Callable[..., Pod]) -> None:
    with pytest.raises(UsageError, match="--pod docker"):
        pick("bubblewrap", "runsc")


def test_without_an_engine_auto_takes_the_embedded_pod(
    pick: Callable[..., Pod], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    assert pick("auto").isolation.pod == "bubblewrap"
    (line,) = told
    assert line.startswith("pod: bubblewrap (no daemon")
    assert "not docker: cannot use Docker: there is no Docker engine" in line


def test_without_a_socket_auto_says_what_is_missing(
    pick: Callable[..., Pod], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(choose, "_LOCAL_ENGINE", tmp_path / "nowhere.sock")
    assert pick("auto").isolation.pod == "bubblewrap"
    assert told[0].endswith("; not docker with runsc: there is no Docker engine")
    monkeypatch.setattr("sandbox.pod.docker.engine._LOCAL", f"unix://{tmp_path}/nowhere.sock")
    with pytest.raises(PodError, match="there is no Docker engine"):
        pick("auto", "runsc")


def test_auto_says_that_gvisor_is_not_registered(
    pick: Callable[..., Pod], told: list[str], engine_with: Callable[..., None]
) -> None:
    engine_with("runc")
    assert pick("auto").isolation.pod == "bubblewrap"
    assert told[0].endswith("; not docker with runsc: no runtime of the engine's is called so (docs/docker.md)")


@pytest.fixture
def engine_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """An engine that has only these runtimes, and never starts anything."""
    information: dict[str, object] = {**FIT, "ServerVersion": "20.10"}

    def have(*runtimes: str) -> None:
        information["Runtimes"] = {name: {"path": "/usr/bin/runsc"} for name in runtimes}

    # A short path, for a socket; the tests' own are too long.
    with (
        tempfile.TemporaryDirectory(prefix="fumehood-") as place,
        speaking(Path(place, "sock"), {"/version": {"ApiVersion": "1.41"}, "/info": information}) as host,
    ):
        monkeypatch.setenv("DOCKER_HOST", host)
        yield have


def test_auto_never_takes_what_was_never_tried(
    pick: Callable[..., Pod], told: list[str], engine_with: Callable[..., None]
) -> None:
    engine_with("kata", "kata-fc", "io.containerd.runc.v2")
    assert pick("auto").isolation.pod == "bubblewrap"
    assert "kata" not in told[0]
    with pytest.raises(PodError, match="Docker has neither gVisor nor runc: name one of its runtimes with --runtime"):
        pick("docker")
    with pytest.raises(PodError, match="the Docker engine says") as raised:
        pick("docker", "kata")
    assert "does not know" not in str(raised.value), "asked for by name, it is tried"


def test_auto_says_why_not_the_stronger_ones(
    pick: Callable[..., Pod], told: list[str], engine_with: Callable[..., None]
) -> None:
    engine_with("runsc", "runsc-kvm", "runc")
    assert pick("auto").isolation.pod == "bubblewrap"
    (line,) = told
    assert line.startswith("pod: bubblewrap (")
    assert "; not docker with runsc: " in line
    assert "; not docker with runsc-kvm: " in line
    assert "\n" not in line


@pytest.mark.docker
def test_auto_takes_gvisor_where_it_works(pick: Callable[..., Pod], told: list[str], settings: Settings) -> None:
    engines.need("docker-runsc")
    isolation = pick("auto", cache=settings.cache).isolation
    assert (isolation.pod, isolation.runtime, isolation.self_test) == ("docker", "runsc", "passed")
    assert told == ["pod: docker with runsc (the package gets a kernel of its own)"]


@pytest.mark.parametrize("change", ["kernel", "our_code", "program"])
def test_what_an_answer_depends_on_is_asked_each_time(
    pick: Callable[..., Pod], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    pick("bubblewrap")
    pick("bubblewrap")
    assert len(list((tmp_path / "cache/tracer").iterdir())) == 1
    monkeypatch.setattr(choose.fingerprint, change, lambda *_: "another")
    pick("bubblewrap")
    assert len(list((tmp_path / "cache/tracer").iterdir())) == 2
