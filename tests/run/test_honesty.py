"""A run that saw less than everything says so, and is never clean; a bad phase does not stop the others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from sandbox.resources import profiles_directory
from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod


def _profile(directory: Path, **changes: dict[str, Any]) -> Path:
    """The shipped profile with other numbers: `limits={...}`, or a phase's name to its budget."""
    profile = yaml.safe_load((profiles_directory() / "pypi.yaml").read_text())
    for name, change in changes.items():
        part = profile["phases"][name] if name in profile["phases"] else profile[name]
        part.update(change)
    path = directory / "profile.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


def _phases(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {phase["name"]: phase for phase in report["phases"]}


@pytest.mark.parametrize(
    "body",
    [
        "import time; time.sleep(1000)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)",
        "import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(1000)",
        "import os\nwhile True: os.write(1, b'x' * 65536)",
    ],
    ids=["sleeps", "ignores-sigterm", "forks", "floods"],
)
def test_a_module_without_end_is_told_and_the_run_goes_on(fumehood: Fumehood, tmp_path: Path, body: str) -> None:
    wheel = make_wheel(tmp_path, "endless", {"endless/__init__.py": "", "endless/a.py": body, "endless/b.py": ""})
    profile = _profile(tmp_path, **{"import": {"seconds": 120, "each": 4}})
    ran = fumehood.run(wheel, "--profile", profile)
    assert ran.code == 3, ran.err
    report = ran.report
    assert report["verdict"] == "inconclusive"
    assert any("endless.a" in reason or "import" in reason for reason in report["reasons"])
    phases = _phases(report)
    assert phases["import"]["coverage"]["timed_out"] == ["endless.a"]
    assert phases["import"]["coverage"]["reached"] >= 2
    assert phases["exercise"]["status"] == "completed"
    # What left its group still runs at the very end, and that is told too.
    assert phases["linger"]["status"] == ("timed-out" if "fork" in body else "completed")


def test_a_start_hook_without_end_ends_in_its_phases_budget(fumehood: Fumehood, tmp_path: Path) -> None:
    files = {"stuck.py": "", "stuck.pth": "import time; time.sleep(1000)\n"}
    profile = _profile(tmp_path, startup={"seconds": 4}, **{"import": {"seconds": 60, "each": 4}})
    report = fumehood.run(make_wheel(tmp_path, "stuck", files), "--profile", profile).report
    assert report["verdict"] == "inconclusive"
    phases = _phases(report)
    assert phases["startup"]["status"] == "timed-out"
    assert phases["install"]["status"] == "completed"
    assert [name for name, phase in phases.items() if phase["status"] == "not-run"] == []


def test_a_trace_that_was_cut_makes_the_run_inconclusive(fumehood: Fumehood, tmp_path: Path) -> None:
    body = "for i in range(200000):\n  try: open(f'/nowhere/{i}')\n  except OSError: pass\n"
    profile = _profile(tmp_path, limits={"trace_mb": 2})
    ran = fumehood.run(make_wheel(tmp_path, "chatty", {"chatty.py": body}), "--profile", profile)
    assert ran.code == 3, ran.err
    phase = _phases(ran.report)["import"]
    assert (phase["status"], phase["trace"]["complete"]) == ("killed", False)


def test_a_package_that_cannot_be_installed_is_inconclusive(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "broken", {"broken.py": ""})
    content = wheel.read_bytes()
    path = tmp_path / "broken-1.0-py2-none-any.whl"
    path.write_bytes(content)
    ran = fumehood.run(path)
    assert ran.code == 3, ran.err
    assert _phases(ran.report)["install"]["status"] == "failed"
    assert any("install" in reason for reason in ran.report["reasons"])


def test_a_daemon_is_watched_in_linger(fumehood: Fumehood, tmp_path: Path) -> None:
    body = (
        "import os, time, socket\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    for fd in (0, 1, 2): os.close(fd)\n"
        "    while True:\n"
        "        time.sleep(0.5)\n"
        "        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'beat', ('203.0.113.4', 99))\n"
    )
    wheel = make_wheel(tmp_path, "daemonic", {"daemonic.py": body})
    report = fumehood.run(wheel, "--profile", _profile(tmp_path, linger={"seconds": 6})).report
    assert _phases(report)["import"]["survivors"] >= 1
    assert any(row["phase"] == "linger" for rows in report["network"].values() for row in rows)


def test_ctrl_c_seals_what_there_is_and_leaves_no_process(fumehood: Fumehood, tmp_path: Path) -> None:
    body = "open('/etc/debian_version').close()\nimport time; time.sleep(1000)"
    wheel = make_wheel(tmp_path, "slow", {"slow.py": body})
    worker = subprocess.Popen(
        [Path(sys.executable).with_name("fumehood"), "run", "--format=json", wheel],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FUMEHOOD_BUNDLES": str(fumehood.bundles)},
    )
    for line in worker.stderr:
        if line.startswith("import: started"):
            break
    trace = next(fumehood.bundles.glob("*.partial")) / "traces/import.strace"
    # A path that bubblewrap's own arguments, which are in the trace as well, do not name.
    while not (trace.exists() and re.search(rb'openat\(.*"/etc/debian_version".* = \d', trace.read_bytes())):
        assert worker.poll() is None
        time.sleep(0.05)
    processes = psutil.Process(worker.pid).children(recursive=True)
    assert len(processes) >= 5
    worker.send_signal(signal.SIGINT)
    out, err = worker.communicate(timeout=240)
    assert worker.returncode == 3, err
    assert "Traceback" not in err
    report = json.loads(out)
    assert report["verdict"] == "inconclusive"
    phases = _phases(report)
    assert (phases["install"]["status"], phases["import"]["status"]) == ("completed", "killed")
    assert phases["exercise"]["status"] == "not-run"
    seen = fumehood("events", fumehood.bundle(), "--phase", "import", "--kind", "file.read").out
    assert b"path=/etc/debian_version" in seen, "what the interrupted phase did is kept"
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
