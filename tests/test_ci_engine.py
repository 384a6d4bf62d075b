"""CI's own Docker engine: started where none is, stopped by process id, however CI ends; and CI fails without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[1]
_MAKEFILE = """
setup lint:
\t@true
test:
\t@echo "tested with $$FUMEHOOD_TEST_DOCKER and $$DOCKER_HOST"
\t@docker info --format 'runtimes {{.Runtimes}}' || true
\t@$(STUB)
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("dockerd"), reason="needs root, docker.io and runsc"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, for a socket."""
    with tempfile.TemporaryDirectory(prefix="fumehood-", dir="/var/tmp") as path:
        yield Path(path)


def _environment(place: Path, **changes: str) -> dict[str, str]:
    """Where no engine answers."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "DOCKER_HOST": f"unix://{place}/sock", **changes}


def _script(place: Path, action: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [_ROOT / ".ci/docker-engine", action, place / "engine"]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=_environment(place, **changes))


def _processes(place: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(place) in word for word in process.info["cmdline"] or ())
    ]


def _left(place: Path) -> list[str]:
    return [path.name for path in place.iterdir() if not path.name.startswith("sock")]


def test_an_engine_is_started_used_again_and_stopped(place: Path) -> None:
    try:
        started = _script(place, "start")
        assert started.returncode == 0, started.stderr
        assert (place / "engine/host").read_text() == f"unix://{place}/sock\n"
        (daemon,) = (process for process in _processes(place) if process.name() == "dockerd")
        assert str(daemon.pid) == (place / "engine/pid").read_text()
        again = _script(place, "start")
        assert "answers already" in again.stdout
    finally:
        stopped = _script(place, "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert _processes(place) == []
    assert _left(place) == []


def test_an_engine_that_was_killed_leaves_nothing_after_the_stop(place: Path) -> None:
    try:
        assert _script(place, "start").returncode == 0
        (daemon,) = (process for process in _processes(place) if process.name() == "dockerd")
        daemon.kill()
        psutil.wait_procs([daemon])
    finally:
        assert _script(place, "stop").returncode == 0
    assert _processes(place) == []
    assert _left(place) == []


def test_an_engine_that_does_not_start_is_told_with_its_last_words(place: Path) -> None:
    stubs = place / "stubs"
    stubs.mkdir()
    (stubs / "dockerd").write_text("#!/bin/sh\necho 'no control groups here' >&2\nexit 1\n")
    (stubs / "dockerd").chmod(0o755)
    ran = _script(place, "start", PATH=f"{stubs}:{os.environ['PATH']}")
    assert ran.returncode == 1
    assert "no Docker engine could be started" in ran.stderr
    assert "no control groups here" in ran.stderr
    assert _left(place) == ["stubs"]


def _ci(place: Path, stub: str, **changes: str) -> subprocess.CompletedProcess[str]:
    clone = place / "clone"
    shutil.copytree(_ROOT / ".ci", clone / ".ci", dirs_exist_ok=True)
    (clone / "Makefile").write_text(_MAKEFILE)
    environment = _environment(place, STUB=stub, **changes)
    return subprocess.run([clone / ".ci/run"], check=False, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(("stub", "code"), [("true", 0), ("false", 1)])
def test_ci_stops_what_it_has_started_also_when_it_fails(place: Path, stub: str, code: int) -> None:
    before = {path.name for path in Path("/var/tmp").glob("fumehood-engine.*")}
    ran = _ci(place, stub)
    assert ran.returncode == code, ran.stderr
    assert f"tested with required and unix://{place}/sock" in ran.stdout
    assert "runsc" in ran.stdout.partition("runtimes ")[2]
    assert ("ci: passed" in ran.stdout) is (code == 0)
    assert _processes(place) == []
    assert {path.name for path in Path("/var/tmp").glob("fumehood-engine.*")} == before


def test_ci_fails_where_no_engine_can_be_started(place: Path) -> None:
    stubs = place / "stubs"
    stubs.mkdir()
    (stubs / "dockerd").write_text("#!/bin/sh\nexit 1\n")
    (stubs / "dockerd").chmod(0o755)
    ran = _ci(place, "true", PATH=f"{stubs}:{os.environ['PATH']}")
    assert ran.returncode == 1
    assert "ci: failed: no Docker engine could be started" in ran.stderr
    assert "tested with" not in ran.stdout


def test_ci_does_without_only_when_it_is_told_to(place: Path) -> None:
    ran = _ci(place, "true", FUMEHOOD_TEST_DOCKER="no")
    assert "WARNING: the Docker pod is not tested" in ran.stderr
    assert "tested with no and" in ran.stdout


_FLAKY = """
from pathlib import Path

def test_depends_on_others():
    first = not Path("ran").exists()
    Path("ran").touch()
    assert not first

def test_never_holds():
    assert not Path("broken").exists()
"""


@pytest.mark.parametrize(("stub", "code"), [("", 0), ("touch broken; ", 1), ("exit 3; ", 1)])
def test_ci_runs_what_has_failed_once_more_alone_and_says_so(place: Path, stub: str, code: int) -> None:
    clone = place / "clone"
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (clone / ".venv/bin/python").chmod(0o755)
    (clone / "test_flaky.py").write_text(_FLAKY)
    ran = _ci(place, f"{stub}.venv/bin/python -m pytest -q", FUMEHOOD_TEST_DOCKER="no")
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("ci: passed" in ran.stdout) is (code == 0)
    # Where something else went wrong than a test, not every test has been run, and nothing is run again.
    assert ("run once more, alone" in ran.stderr) is (stub != "exit 3; ")
    assert ("test_flaky.py::test_depends_on_others" in ran.stderr) is (stub != "exit 3; ")
