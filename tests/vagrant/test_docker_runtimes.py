"""gVisor is registered with Docker, and whatever else somebody has set stays."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[2] / ".ci/docker-runtimes"
_RUNSC = {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=ptrace", "--network=host"]}


def _register(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, _SCRIPT, path], check=False, capture_output=True, text=True)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "docker/daemon.json"
    done = _register(path)
    assert (done.returncode, done.stdout) == (0, f"gVisor is registered as the runtime runsc in {path}\n")
    assert json.loads(path.read_text()) == {"runtimes": {"runsc": _RUNSC}}
    assert [entry.name for entry in path.parent.iterdir()] == ["daemon.json"]


def test_other_settings_stay(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    settings = {
        "data-root": "/srv/docker",
        "runtimes": {"kata": {"path": "/usr/bin/kata-runtime"}},
        "bip": "10.1.0.1/24",
    }
    path.write_text(json.dumps(settings))
    path.chmod(0o600)
    assert _register(path).returncode == 0
    assert json.loads(path.read_text()) == {**settings, "runtimes": {**settings["runtimes"], "runsc": _RUNSC}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_runtime_that_is_registered_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    text = '{"runtimes":{"runsc":{"path":"/opt/runsc","runtimeArgs":["--platform=systrap"]}}}'
    path.write_text(text)
    done = _register(path)
    assert (done.returncode, done.stdout, path.read_text()) == (0, "", text)


@pytest.mark.parametrize("text", ['{"runtimes": ', "[]", '{"runtimes": "runsc"}', '{"runtimes": []}'])
def test_a_file_that_docker_would_refuse_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(text)
    done = _register(path)
    assert (done.returncode, done.stdout, path.read_text()) == (1, "", text)
    assert done.stderr.startswith(f"{path} is not what Docker understands")
    assert len(done.stderr.splitlines()) == 1


def test_who_cannot_become_root_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no sudo there
    path = tmp_path / "daemon.json"
    assert runpy.run_path(str(_SCRIPT))["_as_root"](path) == 1
    assert capsys.readouterr().err == f"only root may write {path}; run as root: {_SCRIPT} {path}\n"
