"""What each pod costs: its start, its stop, its phases traced and untraced, and the list of what was left.

    .venv/bin/python -m tests.benchmarks.pods [--times N] [--pods bubblewrap docker-runc docker-runsc]

Prints the table of docs/performance.md: medians. Needs no network: the package is a small wheel made here. Untraced
means the same commands in the same pod with the tracer left out, which only this program can do: in the embedded pod by
taking it off the command line, in Docker by `exec` into the tracee's container. Not a test: nothing is asserted about
speed. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sandbox import images, tracer
from sandbox.images import BaseImage
from sandbox.phases import pypi
from sandbox.pod import choose, dropped
from sandbox.pod.docker.pod import DockerPod
from sandbox.pod.interface import RESULT_FD, TRACEE_UID, PhaseCommand, PodPlan
from sandbox.profile import load_profile
from sandbox.settings import Settings
from tests.images.pods import make_wheel
from tests.sandbox.pod.bench import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox.pod.interface import Pod

_MODULES = 20
_BODY = "import json, os, sqlite3\nwith open(__file__) as file:\n    TEXT = file.read()\n"
_SCRIPT = "import argparse\ndef main():\n    argparse.ArgumentParser().parse_args()\n"
_TIMER = """
import os, subprocess, sys, time
os.dup2(os.open(os.devnull, os.O_WRONLY), 3)
started = time.monotonic()
null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
subprocess.run(sys.argv[2:], pass_fds=(3,), **null)
elapsed = time.monotonic() - started
with open(sys.argv[1] + ".part", "w") as file:
    file.write(str(elapsed))
os.rename(sys.argv[1] + ".part", sys.argv[1])
"""
_PATIENCE = 120


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one pod's life."""

    start: float
    left: float
    """Ending what runs, and listing what was left."""
    stop: float
    phases: float


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What is run in each pod."""

    image: BaseImage
    wheel: Path
    commands: tuple[PhaseCommand, ...]
    site_packages: str
    cache: Path

    def plan(self, directory: Path) -> PodPlan:
        """A pod's plan with this wheel."""
        return msgspec.structs.replace(make_plan(self.image, directory), artefact=self.wheel)


def _workload(directory: Path) -> Workload:
    cache = Settings.from_environment(os.environ).cache
    image = images.ensure("debian12-python", cache, print)
    profile = load_profile("pypi")
    modules = {f"thing/m{number}.py": _BODY for number in range(_MODULES)}
    files = {"thing/__init__.py": "", "thing/script.py": _SCRIPT, **modules}
    wheel = make_wheel(directory, "thing", files, {"thing": "thing.script:main"})
    environment = pypi.Environment(home=profile.persona.home, python=image.image.python)
    commands = pypi.commands(environment, profile, "thing", wheel.name, ())
    return Workload(image=image, wheel=wheel, commands=commands, site_packages=environment.site_packages, cache=cache)


def _life(name: str, load: Workload, *, traced: bool) -> Measured:
    """Start a pod, run the phases, stop it."""
    kind, _, runtime = name.partition("-")
    wanted = choose.Wanted(pod="docker" if kind == "docker" else "bubblewrap", runtime=runtime)
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent, "evidence")
        directory.mkdir()
        pod = choose.choose(wanted, load.plan(Path(parent)), directory, load.cache, lambda _: None)
        began = time.monotonic()
        with pod:
            started = time.monotonic()
            seconds = sum(_phase(pod, command, directory, traced=traced) for command in load.commands)
            ran = time.monotonic()
            pod.list_dropped(load.site_packages, time.time())
            listed = time.monotonic()
            if not (directory / dropped.FILE).read_bytes().count(b'"record":"end"'):
                raise SystemExit("the list of what was left has no end")
            pod.stop()
            left, stop = listed - ran, time.monotonic() - listed
            return Measured(start=started - began, left=left, stop=stop, phases=seconds)


def _phase(pod: Pod, command: PhaseCommand, directory: Path, *, traced: bool) -> float:
    if not traced and isinstance(pod, DockerPod):
        return _untraced_in_docker(pod, command, directory)
    with _without_tracer(active=not traced):
        phase = pod.run(command, lambda _: None)
    if phase.status != "completed":
        raise SystemExit(f"{command.name}: {phase.status}: {phase.reason}")
    return phase.ended - phase.started


@contextmanager
def _without_tracer(*, active: bool) -> Iterator[None]:
    """Take strace off the command line, in this process alone: fumehood itself has no way to do so."""

    def bare(_strace: str, _trace: Path, tracee: Sequence[str], *_rest: object) -> list[str]:
        _trace.touch()
        return list(tracee)

    before = tracer.command
    if active:
        tracer.command = bare
    try:
        yield
    finally:
        tracer.command = before


def _untraced_in_docker(pod: DockerPod, command: PhaseCommand, directory: Path) -> float:
    """The seconds that the command itself took, as a timer in the container saw it; what `exec` costs is left out."""
    tracee = pod._tracee
    if tracee is None or tracee._container is None:
        raise SystemExit("the pod has no container")
    name = f"{command.name}.elapsed"
    argv = ["3" if word == RESULT_FD else word for word in command.argv]
    identity = [f"--reuid={TRACEE_UID}", f"--regid={TRACEE_UID}", "--clear-groups", "--inh-caps=-all"]
    package = ["/usr/bin/setpriv", *identity, "--bounding-set=-all", "--no-new-privs", *argv]
    timer = ["/usr/bin/python3", "-S", "-c", _TIMER, f"/fumehood/output/{name}"]
    tracee._container.exec_run(
        [*timer, *package], user="0:0", environment=dict(pod._plan.environment), workdir=pod._plan.home
    )
    # Under gVisor `exec` may come back before the command has ended.
    result, until = directory / "output" / name, time.monotonic() + _PATIENCE
    while not result.exists():
        if time.monotonic() > until:
            raise SystemExit(f"{command.name} does not end")
        time.sleep(0.01)
    return float(result.read_text())


def _whole_run(name: str, load: Workload) -> float:
    kind, _, runtime = name.partition("-")
    options = ["--pod", kind, *(["--runtime", runtime] if runtime else [])]
    with tempfile.TemporaryDirectory() as bundles:
        start = time.monotonic()
        subprocess.run(
            [Path(sys.executable).with_name("fumehood"), "run", "--quiet", "--fail-on=never", *options, load.wheel],
            check=False,  # gVisor of 2022 may make it inconclusive
            stdout=subprocess.DEVNULL,
            env={**os.environ, "FUMEHOOD_BUNDLES": bundles},
        )
        return time.monotonic() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--pods", nargs="+", default=["bubblewrap", "docker-runc", "docker-runsc"])
    arguments = parser.parse_args()
    print(f"Linux {platform.release()}, {os.cpu_count()} processors, medians of {arguments.times}, seconds\n")
    print("| pod | start | phases untraced | phases traced | ratio | list | stop | whole run |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        load = _workload(Path(directory))
        for name in arguments.pods:
            print(_row(name, load, arguments.times), flush=True)


def _row(name: str, load: Workload, times: int) -> str:
    _life(name, load, traced=True)
    # In turn, so that whatever else the machine does strikes both.
    pairs = [(_life(name, load, traced=True), _life(name, load, traced=False)) for _ in range(times)]
    traced, untraced = zip(*pairs, strict=True)
    whole = statistics.median(_whole_run(name, load) for _ in range(times))
    lives = (*traced, *untraced)
    start, left, stop = (statistics.median(getattr(life, part) for life in lives) for part in ("start", "left", "stop"))
    with_tracer, without = (statistics.median(life.phases for life in some) for some in (traced, untraced))
    ratio = with_tracer / without
    phases = f"{without:.2f} | {with_tracer:.2f} | {ratio:.1f}"
    return f"| {name} | {start:.2f} | {phases} | {left:.3f} | {stop:.2f} | {whole:.1f} |"


if __name__ == "__main__":
    main()
