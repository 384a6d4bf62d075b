"""What may be wrong with the engine is one line that says what to do: each provoked for real where that can be done."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import psutil
import pytest
import requests

from sandbox.errors import PodError
from sandbox.pod import choose
from sandbox.pod.docker import engine
from tests.sandbox.pod import engines
from tests.sandbox.pod.bench import make_plan
from tests.sandbox.pod.said_engine import FIT, speaking
from tests.sandbox.pod.somebody import as_somebody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from sandbox.images import BaseImage


def _line(raised: pytest.ExceptionInfo[PodError]) -> str:
    said = str(raised.value)
    assert "\n" not in said
    return said


def _connect(host: str, monkeypatch: pytest.MonkeyPatch) -> DockerClient:
    monkeypatch.setenv("DOCKER_HOST", host)
    return engine.connect()


def test_no_engine(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PodError) as raised:
        _connect(f"unix://{place}/absent.sock", monkeypatch)
    assert "there is no Docker engine: start it, install it (docs/docker.md), or use --pod bubblewrap" in _line(raised)


def test_an_engine_that_has_left_its_socket(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with speaking(place / "left.sock", {}) as host:
        pass
    with pytest.raises(PodError) as raised:
        _connect(host, monkeypatch)
    assert "does not answer: start it" in _line(raised)


@pytest.mark.parametrize("host", ["tcp://192.0.2.1:2375", "ssh://somebody@engine.example", "fd://"])
def test_an_engine_elsewhere(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PodError) as raised:
        _connect(host, monkeypatch)
    assert f"DOCKER_HOST is {host}, but the engine must be on this machine" in _line(raised)
    assert "unset it" in _line(raised)


@pytest.mark.pod
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not")
def test_an_engine_that_is_not_for_everybody(base_image: BaseImage, place: Path) -> None:
    with speaking(place / "closed.sock", {}) as host:
        (place / "closed.sock").chmod(0o600)
        code = "from sandbox.pod.docker import engine; engine.connect()"
        command = [*as_somebody(place, base_image.rootfs), sys.executable, "-c", code]
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DOCKER_HOST": host,
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        }
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd="/")
    assert ran.returncode == 1
    assert "add this user to the group `docker`, or run as root" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("version", ["1.12", "1.39"])
def test_an_engine_that_is_too_old(place: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    with (
        speaking(place / "old.sock", {"/version": {"ApiVersion": version}}) as host,
        pytest.raises(PodError) as raised,
    ):
        _connect(host, monkeypatch)
    assert "too old" in _line(raised)
    assert "install Docker 19.03 or newer" in _line(raised)


def _described(path: Path, monkeypatch: pytest.MonkeyPatch, **told: object) -> engine.Engine:
    answers = {"/version": {"ApiVersion": "1.41"}, "/info": {**FIT, **told}}
    with speaking(path, answers) as host:
        client = _connect(host, monkeypatch)
        try:
            return engine.describe(client)
        finally:
            client.close()


@pytest.mark.parametrize(
    ("told", "why", "advice"),
    [
        ({"SecurityOptions": ["name=apparmor"]}, "the engine has no seccomp", "built with it"),
        ({"SecurityOptions": None}, "the engine has no seccomp", "built with it"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "is rootless", "use the engine of the system"),
        ({"PidsLimit": False}, "cannot limit processes", "control groups"),
        ({"MemoryLimit": False, "PidsLimit": False}, "cannot limit memory or processes", "control groups"),
        ({"KernelVersion": "5.10.0-linuxkit"}, "runs on another kernel (5.10.0-linuxkit)", "one that runs here"),
    ],
)
def test_an_engine_that_cannot_hold_a_pod(
    place: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, object], why: str, advice: str
) -> None:
    with pytest.raises(PodError) as raised:
        _described(place / "unfit.sock", monkeypatch, **told)
    assert why in _line(raised)
    assert advice in _line(raised)
    assert "--pod bubblewrap" in _line(raised)


def test_what_an_answer_depends_on_changes_with_the_engine(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _described(place / "a.sock", monkeypatch)
    assert _described(place / "b.sock", monkeypatch) == before
    assert _described(place / "c.sock", monkeypatch, ServerVersion="99").fingerprint != before.fingerprint
    tool = place / "runsc"
    tool.write_bytes(b"#!/bin/sh\n")
    tool.chmod(0o755)

    def registered(name: str, *arguments: str) -> str:
        runtimes = {"mine": {"path": str(tool), "runtimeArgs": list(arguments)}}
        return _described(place / name, monkeypatch, Runtimes=runtimes).runtimes["mine"].fingerprint

    plain = registered("d.sock", "--network=host")
    assert registered("e.sock", "--network=host") == plain
    assert registered("f.sock") != plain, "the runtime's arguments"
    tool.write_bytes(b"#!/bin/sh\n:\n")
    assert registered("g.sock", "--network=host") != plain, "the runtime itself"


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


@pytest.mark.parametrize("said", ["permission denied", "no such file or directory", "connection refused"])
def test_an_engine_that_answers_is_not_taken_for_one_that_cannot_be_reached(said: str) -> None:
    line = engine.explain("do it", docker.errors.APIError("500", explanation=f"mkdir /x: {said}"))
    assert line == f"cannot do it: the Docker engine says: mkdir /x: {said}"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("failed to create shim task: OCI runtime create failed: no such file", "are its path and its arguments right"),
        ("OCI runtime start failed: cannot run with network enabled in root network namespace", "--network=host"),
    ],
)
def test_what_a_runtime_says_is_not_taken_for_the_engines_absence(said: str, advice: str) -> None:
    assert advice in engine.explain("do it", docker.errors.APIError("500", explanation=said))


def test_the_socket_that_is_not_there_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/nowhere.sock")
    with pytest.raises(PodError) as raised:
        engine.connect()
    assert f"{place}/nowhere.sock" in _line(raised)


@pytest.mark.docker
def test_the_engine_that_is_here_can_hold_pods(client: DockerClient) -> None:
    assert "runc" in engine.describe(client).runtimes


@pytest.mark.docker
def test_an_image_that_is_gone(client: DockerClient) -> None:
    with pytest.raises(PodError) as raised, engine.explained("start a container"):
        client.containers.create("fumehood/tracee:never-made")
    assert "the image has been removed meanwhile: run again" in _line(raised)


@pytest.mark.docker
@pytest.mark.pod
@pytest.mark.usefixtures("client")
def test_a_runtime_that_is_not_registered(base_image: BaseImage, tmp_path: Path) -> None:
    wanted = choose.Wanted(pod="docker", runtime="nonsense")
    with pytest.raises(PodError) as raised:
        choose.choose(wanted, make_plan(base_image, tmp_path), tmp_path, tmp_path, print)
    line = _line(raised)
    assert line.startswith("Docker does not know the runtime 'nonsense': use one of runc")
    assert "or register it (docs/docker.md)" in line
    assert "io.containerd" not in line


@contextlib.contextmanager
def _own_engine(place: Path, monkeypatch: pytest.MonkeyPatch, mount: str, **settings: object) -> Iterator[None]:
    """An engine of the test's own, in a mount namespace of its own, as DOCKER_HOST."""
    if os.getuid() != 0:
        pytest.skip("only root can start a second engine")
    engines.need("docker-runc")
    (place / "data").mkdir()
    (place / "daemon.json").write_text(json.dumps(settings))
    places = f"--data-root {place}/data --exec-root {place}/exec --pidfile {place}/pid"
    quiet = "--bridge=none --iptables=false --ip6tables=false"
    start = f"exec dockerd --config-file {place}/daemon.json --host unix://{place}/sock {places} {quiet}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{mount}\n{start}"]
    monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/sock")
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        try:
            while True:
                assert daemon.poll() is None, (place / "log").read_text()
                with contextlib.suppress(PodError):
                    engine.connect().close()
                    break
                time.sleep(0.1)
            yield
        finally:
            daemon.terminate()


@pytest.mark.docker
def test_an_engine_that_maps_users(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ids").write_text("nobody:300000:65536\n")
    ids = "".join(f"mount --bind {place}/ids /etc/{name}\n" for name in ("subuid", "subgid"))
    mapped = {"userns-remap": "nobody:nogroup"}
    with (
        _own_engine(place, monkeypatch, ids, **mapped),
        contextlib.closing(engine.connect()) as client,
        pytest.raises(PodError) as raised,
    ):
        engine.describe(client)
    assert "the engine maps its containers' users to others (userns-remap)" in _line(raised)


@pytest.mark.docker
@pytest.mark.pod
def test_a_disk_that_is_full(
    base_image: BaseImage, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = f"mount -t tmpfs -o size=24m none {place}/data"
    with _own_engine(place, monkeypatch, small), pytest.raises(PodError) as raised:
        choose.choose(choose.Wanted(pod="docker"), make_plan(base_image, tmp_path), tmp_path, tmp_path / "cache", print)
    line = _line(raised)
    assert line.startswith("cannot import the base image: the disk that holds Docker's data is full: free some")


@pytest.mark.docker
@pytest.mark.pod
def test_a_runtime_whose_program_is_missing_or_no_program(
    base_image: BaseImage, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "text").write_text("no program\n")
    runtimes = {name: {"path": f"{place}/{name}"} for name in ("nothing", "text")}
    with _own_engine(place, monkeypatch, f"mount -t tmpfs none {place}/data", runtimes=runtimes):
        for name in runtimes:
            (tmp_path / name).mkdir()
            wanted = choose.Wanted(pod="docker", runtime=name)
            with pytest.raises(PodError) as raised:
                choose.choose(wanted, make_plan(base_image, tmp_path), tmp_path / name, tmp_path / "c", print)
            assert "the runtime's program is missing or cannot be run" in _line(raised)
            assert f"fork/exec {place}/{name}" in _line(raised)


@pytest.mark.docker
@pytest.mark.pod
def test_gvisor_with_a_network_of_its_own_is_refused(
    base_image: BaseImage, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.need("docker-runsc")
    runtimes = {
        name: {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=ptrace", *arguments]}
        for name, arguments in {"runsc-default": (), "runsc-none": ("--network=none",)}.items()
    }
    said = {}
    with _own_engine(place, monkeypatch, f"mount -t tmpfs none {place}/data", runtimes=runtimes):
        for name in runtimes:
            (tmp_path / name).mkdir()
            plan = make_plan(base_image, tmp_path)
            with pytest.raises(PodError) as raised:
                choose.choose(choose.Wanted(pod="docker", runtime=name), plan, tmp_path / name, tmp_path / "c", print)
            said[name] = _line(raised)
    assert "gVisor needs the runtime argument --network=host" in said["runsc-default"]
    # It starts, and its package would talk to nobody: only the self-test meets that.
    assert "a connection and a DNS question of the pod's self-test did not reach the gateway" in said["runsc-none"]
    assert "--network=host" in said["runsc-none"]
    assert not (tmp_path / "c").exists(), "a refusal is not kept"
    # The engine leaves the sandbox of a container that did not start.
    left = (process.info["cmdline"] or [""] for process in psutil.process_iter(["cmdline"]))
    assert [
        words[0] for words in left if words[0].startswith("runsc-") and any(str(place) in word for word in words)
    ] == []
