"""What only the Docker pod promises: how its containers are made, and that nothing is left of them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sandbox.errors import PodError
from sandbox.pod.docker import labels
from sandbox.pod.docker.gateway import GatewayContainer
from sandbox.pod.docker.pod import DockerPod
from sandbox.pod.docker.tracee import TraceeContainer
from tests.sandbox.pod.bench import Bench, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient

    from sandbox.images import BaseImage

pytestmark = [pytest.mark.docker, pytest.mark.pod]


@pytest.fixture
def make_pod(client: DockerClient, base_image: BaseImage, tmp_path: Path) -> Callable[..., DockerPod]:  # noqa: ARG001
    """A pod with runc that is not yet started; its evidence is in `tmp_path/evidence`."""

    def make(**limits: int) -> DockerPod:
        (tmp_path / "evidence").mkdir()
        return DockerPod(make_plan(base_image, tmp_path, **limits), tmp_path / "evidence", "runc")

    return make


def _made_by_us(client: DockerClient) -> list[dict[str, Any]]:
    ours = f"{labels.WORKER}={labels.worker(os.getpid())}"
    return client.api.containers(all=True, filters={"label": ours})


def _inspected(client: DockerClient) -> dict[str, dict[str, Any]]:
    return {entry["Labels"][labels.ROLE]: client.api.inspect_container(entry["Id"]) for entry in _made_by_us(client)}


def test_nothing_is_left_after_a_run_and_what_it_had_was_labelled(
    client: DockerClient, make_pod: Callable[..., DockerPod], tmp_path: Path
) -> None:
    volumes = {volume["Name"] for volume in client.api.volumes()["Volumes"] or ()}
    with make_pod() as pod:
        made = _made_by_us(client)
        assert sorted(entry["Labels"][labels.ROLE] for entry in made) == ["gateway", "tracee"]
        assert {entry["Labels"][labels.RUN] for entry in made} == {pod._plan.run}
        (attempt,) = {entry["Labels"][labels.ATTEMPT] for entry in made}
        assert all(attempt in entry["Names"][0] for entry in made)
        assert Bench(pod, tmp_path / "evidence").run("/bin/true").status == "completed"
    assert _made_by_us(client) == []
    assert {volume["Name"] for volume in client.api.volumes()["Volumes"] or ()} <= volumes


def test_the_containers_are_made_as_documented(
    client: DockerClient, make_pod: Callable[..., DockerPod], tmp_path: Path
) -> None:
    with make_pod(memory_mb=512, disk_mb=128, processes=100) as pod:
        assert Bench(pod, tmp_path / "evidence").run("/bin/true").status == "completed"
        made = _inspected(client)
    for role in ("gateway", "tracee"):
        host = made[role]["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["Privileged"] is False
        assert host["MemorySwap"] == host["Memory"] > 0, "no swap"
        assert host["PidsLimit"] > 0
        assert 0 < host["NanoCpus"] <= 2_000_000_000
        assert not host["Binds"]
        assert "no-new-privileges" in host["SecurityOpt"]
        sources = [mount["Source"] for mount in host["Mounts"]]
        assert not any("docker.sock" in source for source in sources)
        assert len(sources) == len(set(sources)), "nothing is shown twice"
        writable = [mount["Source"] for mount in host["Mounts"] if not mount.get("ReadOnly")]
        assert writable, "evidence comes out of it"
        assert all(source.startswith(f"{tmp_path}/evidence/") for source in writable)
    assert made["gateway"]["HostConfig"]["NetworkMode"] == "none"
    tracee = made["tracee"]["HostConfig"]
    assert tracee["NetworkMode"] == f"container:{made['gateway']['Id']}"
    assert any(option.startswith("seccomp={") for option in tracee["SecurityOpt"])
    sizes = [
        int(option.removeprefix("size="))
        for options in tracee["Tmpfs"].values()
        for option in options.split(",")
        if option.startswith("size=")
    ]
    assert len(sizes) == len(tracee["Tmpfs"]) == 5
    assert sum(sizes) == 128 << 20
    assert tracee["Memory"] >= sum(sizes) + (512 << 20), "a full disk leaves the package its memory"


def test_a_path_may_have_a_colon(base_image: BaseImage, client: DockerClient, tmp_path: Path) -> None:  # noqa: ARG001
    odd = tmp_path / "a:b,c d"
    (odd / "evidence").mkdir(parents=True)
    plan = make_plan(base_image, odd)
    artefact = odd / "odd:name-1.0,x.whl"
    artefact.write_bytes(b"what is run")
    plan = msgspec.structs.replace(plan, artefact=artefact)
    with DockerPod(plan, odd / "evidence", "runc") as pod:
        bench = Bench(pod, odd / "evidence")
        phase = bench.run("/bin/cat", f"/opt/artefact/{artefact.name}")
        assert bench.output(phase) == "what is run"


def test_the_package_is_nobody_of_this_machine_and_has_no_capability(
    make_pod: Callable[..., DockerPod], tmp_path: Path
) -> None:
    code = (
        "import os, pwd, resource\n"
        "print(pwd.getpwuid(os.getuid()).pw_name, os.getuid(), *os.getresuid(), *os.getresgid(), *os.getgroups())\n"
        "status = dict(line.split(':\\t') for line in open('/proc/self/status'))\n"
        "print(*(status[name].strip() for name in status if name.startswith('Cap')))\n"
        "print(status['NoNewPrivs'].strip(), status['Seccomp'].strip())\n"
        "print(resource.getrlimit(resource.RLIMIT_NPROC), sorted(os.listdir('/proc/self/fd')))\n"
        "open(os.environ['HOME'] + '/mine', 'w').close()\n"
    )
    with make_pod(processes=100) as pod:
        bench = Bench(pod, tmp_path / "evidence")
        phase = bench.python(code)
        assert phase.status == "completed", bench.output(phase, "stderr")
        who, capabilities, locks, limits = bench.output(phase).splitlines()
        assert pod.isolation.uid_ranges == 2
    name, *ids = who.split()
    assert name == "martin"
    assert len(set(ids)) == 1
    assert 1_879_000_000 <= int(ids[0]) < 1_880_000_000
    assert capabilities.split() == ["0" * 16] * 5
    assert locks.split() == ["1", "2"]
    assert limits == "(100, 100) ['0', '1', '2', '3']", "3 is the listing's own"


def test_the_gateway_that_serves_is_ours_and_may_read_raw_packets_alone(
    client: DockerClient, make_pod: Callable[..., DockerPod]
) -> None:
    with make_pod():
        gateway = _inspected(client)["gateway"]["State"]["Pid"]
        lines = Path(f"/proc/{gateway}/status").read_text(encoding="ascii").splitlines()
        links = {path.name: path.readlink() for path in Path(f"/proc/{gateway}/ns").iterdir()}
    status = dict(line.split(":\t", 1) for line in lines)
    net_raw = f"{1 << 13:016x}"
    assert {name: status[name] for name in status if name.startswith("Cap")} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), net_raw
    )
    assert status["Uid"].split() == [str(os.getuid())] * 4
    assert (status["Groups"].split(), status["NoNewPrivs"], status["Seccomp"]) == ([], "1", "2")
    assert links["net"] != Path("/proc/self/ns/net").readlink()


@pytest.mark.parametrize("fails", [TraceeContainer, GatewayContainer])
def test_every_step_of_stopping_is_taken_and_the_first_error_is_told(
    client: DockerClient,
    make_pod: Callable[..., DockerPod],
    monkeypatch: pytest.MonkeyPatch,
    fails: type[TraceeContainer | GatewayContainer],
) -> None:
    pod = make_pod()
    pod.__enter__()
    really = fails.stop

    def stop(container: Any) -> None:
        really(container)
        raise PodError(f"{fails.__name__} cannot be stopped")

    monkeypatch.setattr(fails, "stop", stop)
    closed: list[bool] = []
    connection = pod._client
    assert connection is not None
    close = connection.close
    monkeypatch.setattr(connection, "close", lambda: (close(), closed.append(True)))
    with pytest.raises(PodError, match=f"{fails.__name__} cannot be stopped"):
        pod.stop()
    assert _made_by_us(client) == []
    assert closed == [True]
    assert pod.stop() == ()


def test_of_two_errors_while_stopping_the_first_is_told(
    client: DockerClient, make_pod: Callable[..., DockerPod], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = make_pod()
    pod.__enter__()
    for kind in (TraceeContainer, GatewayContainer):

        def stop(container: Any, kind: Any = kind, really: Any = kind.stop) -> None:
            really(container)
            raise PodError(f"{kind.__name__} cannot be stopped")

        monkeypatch.setattr(kind, "stop", stop)
    with pytest.raises(PodError, match="TraceeContainer cannot be stopped"):
        pod.stop()
    assert _made_by_us(client) == []


def test_an_image_that_is_gone_leaves_no_container(
    client: DockerClient, make_pod: Callable[..., DockerPod], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.pod.docker.pod.images.ensure", _no_tracee(client))
    with pytest.raises(PodError, match="run again"):
        make_pod().__enter__()
    assert _made_by_us(client) == []


def _no_tracee(client: DockerClient) -> Callable[..., Any]:
    from sandbox.pod.docker import images  # noqa: PLC0415 - before it is replaced

    ensure = images.ensure

    def ensured(*arguments: Any) -> images.Images:
        assert client.api.images() is not None
        return msgspec.structs.replace(ensure(*arguments), tracee=f"fumehood/none:{secrets.token_hex(4)}")

    return ensured
