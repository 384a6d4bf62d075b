"""Traps that a package lays at import, for the programs of ours that run after it, in the `exercise` phase."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from collector import timeline
from collector.bundle import Bundle
from collector.events import FileRead, ProcessExec
from sandbox.resources import profiles_directory
from tests.escape.conftest import options_for
from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

_SITE = "/home/martin/.venv/lib/python3.11/site-packages"
_INFO = f"{_SITE}/trapper-1.0.dist-info"
_PROGRAMS = ("python3", "python", "strace", "bwrap", "setpriv", "prlimit", "nsenter", "choom", "sh", "env", "ld.so")
_LIES = f"""
import os
names = {_PROGRAMS!r}
for directory in ("/home/martin/.venv/bin", "/home/martin/.local/bin"):
    os.makedirs(directory, exist_ok=True)
    for name in names:
        path = directory + "/" + name
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "w") as script:
            script.write("#!/bin/sh\\n: > /tmp/sprung.$$\\n")
        os.chmod(path, 0o755)
def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
spring = "open('/tmp/sprung.site', 'a').close()"
write("/home/martin/.venv/pyvenv.cfg", "home = /home/martin/.local/bin\\ninclude-system-site-packages = true\\n")
write("{_SITE}/sitecustomize.py", spring)
write("{_SITE}/trap.pth", "import os; " + spring + "\\n")
for name in ("json", "os", "selectors", "fumehood_driver", "encodings/__init__"):
    write("/home/martin/" + name + ".py", spring)
    write("/home/martin/.local/lib/python3.11/site-packages/" + name + ".py", spring)
for name in (".profile", ".bashrc", ".bash_profile", ".pam_environment", ".config/environment.d/1.conf"):
    write("/home/martin/" + name, "LD_PRELOAD=/tmp/sprung.so\\nPYTHONSTARTUP=/tmp/sprung.so\\nexport LD_PRELOAD\\n")
write("/tmp/sprung.so", "no library")
"""
_WAITS = f"""
import os
for name in ("entry_points.txt", "METADATA", "RECORD", "WHEEL"):
    os.unlink("{_INFO}/" + name)
    os.mkfifo("{_INFO}/" + name)
os.unlink("/home/martin/.venv/pyvenv.cfg")
os.mkfifo("/home/martin/.venv/pyvenv.cfg")
"""
_LEADS_OUT = f"""
import os, shutil
shutil.rmtree("{_INFO}")
os.symlink("/proc/1/root", "{_INFO}")
shutil.rmtree("/home/martin/.venv/bin")
os.symlink("/proc/self/fd", "/home/martin/.venv/bin")
os.symlink("trapper-1.0.dist-info", "{_SITE}/Trapper-2.0.dist-info")
"""


def _run(code: str, pod: str, directory: Path) -> tuple[dict[str, Any], Bundle]:
    """The report and the bundle of a package that lays traps when it is imported."""
    bundles = directory / "bundles"
    wheel = make_wheel(directory, "trapper", {"trapper.py": code}, {"trapper-says": "trapper:print"})
    profile = directory / "short.yaml"
    text = (profiles_directory() / "pypi.yaml").read_text()
    shorter = text.replace("exercise: {seconds: 180, each: 10}", "exercise: {seconds: 12, each: 4}")
    assert shorter != text
    profile.write_text(shorter)
    command = [f"{sys.prefix}/bin/fumehood", "run", "--format=json", "--quiet", "--profile", str(profile)]
    environment = {**os.environ, "FUMEHOOD_BUNDLES": str(bundles)}
    done = subprocess.run([*command, *options_for(pod), wheel], check=False, capture_output=True, env=environment)
    assert done.stdout, done.stderr.decode()
    (path,) = (path for path in bundles.iterdir() if path.is_dir())
    return json.loads(done.stdout), Bundle.open(path)


def _phase(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (phase for phase in report["phases"] if phase["name"] == name)
    return dict(found)


def test_no_program_of_ours_springs_a_trap(pod: str, tmp_path: Path) -> None:
    """Replaced interpreters, programs on PATH, libraries to preload, modules and settings of Python."""
    report, bundle = _run(_LIES, pod, tmp_path)
    events = timeline.build(bundle).events
    exercise = [event for event in events if event.phase == "exercise"]
    assert all(phase["trace"]["complete"] for phase in report["phases"])
    trusted = [event for event in exercise if isinstance(event, ProcessExec) and event.actor == "installer"]
    assert {event.image for event in trusted} <= {"/usr/bin/python3"}, "what is ours runs the image's own interpreter"
    sprung = [event for event in exercise if getattr(event, "path", "").startswith("/tmp/sprung.")]
    assert sprung, "somebody does step there: the package's own script, whose interpreter the environment's is"
    assert {event.actor for event in sprung} == {"target"}
    loaded = [event for event in sprung if isinstance(event, FileRead) and event.path == "/tmp/sprung.so"]
    assert loaded == []
    assert report["verdict"] in {"suspicious", "malicious"}
    assert "start-hook-written" in {finding["name"] for finding in report["findings"]}


@pytest.mark.parametrize("code", [_WAITS, _LEADS_OUT], ids=["pipes-that-nobody-writes", "links-that-lead-out"])
def test_a_phase_that_meets_a_trap_ends_and_says_so(pod: str, tmp_path: Path, code: str) -> None:
    report, _ = _run(code, pod, tmp_path)
    exercise = _phase(report, "exercise")
    assert exercise["status"] in {"failed", "timed-out"}, exercise
    assert exercise["trace"]["complete"]
    assert report["verdict"] != "clean"
    assert any(reason.startswith("exercise ") for reason in report["reasons"])
