"""A package that meets a limit while it is built: the report says which and how much, and every phase is tried."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox.resources import profiles_directory
from tests.images.pods import make_wheel
from tests.sandbox.pod import engines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod


@pytest.fixture(params=["bubblewrap", pytest.param("docker-runc", marks=pytest.mark.docker)], autouse=True)
def pod(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is in this pod."""
    engines.need(request.param)
    kind, _, runtime = request.param.partition("-")
    monkeypatch.setenv("FUMEHOOD_POD", kind)
    monkeypatch.setenv("FUMEHOOD_RUNTIME", runtime)


_BACKEND = """
import os, socket, time, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    meet_the_limit()
    name = "greedy-1.0-py3-none-any.whl"
    info = "greedy-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("greedy.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: greedy\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

def meet_the_limit():
"""


def _sdist(directory: Path, body: str) -> Path:
    """An sdist with a build backend of its own, which does `body` first."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "PKG-INFO": "Metadata-Version: 2.1\nName: greedy\nVersion: 1.0\n",
        "backend.py": _BACKEND + "".join(f"    {line}\n" for line in body.splitlines()),
    }
    path = directory / "greedy-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"greedy-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def _profile(directory: Path, **limits: int) -> Path:
    profile = yaml.safe_load((profiles_directory() / "pypi.yaml").read_text())
    profile["limits"].update(limits)
    path = directory / "profile.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


_OPENS = """
while True:
    try: open("/nowhere")
    except OSError: pass
"""
_FORKS = """
children = []
while True:
    try: child = os.fork()
    except BlockingIOError: break
    if child == 0:
        time.sleep(1000)
    children.append(child)
time.sleep(4)
for child in children: os.kill(child, 9); os.waitpid(child, 0)
"""
_FILLS = """
try:
    with open("/tmp/big", "wb", 0) as big:
        while True: big.write(b"x" * 65536)
except OSError: time.sleep(4)
os.remove("/tmp/big")
"""
_POSTS = """
for _ in range(2):
    s = socket.create_connection(("192.0.2.7", 80))
    s.sendall(b"POST / HTTP/1.0\\r\\nHost: a.test\\r\\nContent-Length: 900000\\r\\n\\r\\n" + b"x" * 900000)
    while s.recv(4096): pass
"""

ENDING = [
    ("memory", "oom", {"memory_mb": 512}, "kept = b'x' * (700 << 20); time.sleep(1000)"),
    ("cpu", "killed", {"cpu_seconds": 6}, "while True: pass"),
    ("trace", "killed", {"trace_mb": 3}, _OPENS),
]
DISTURBING = [
    ("processes", {"processes": 64}, _FORKS),
    ("disk", {"disk_mb": 48}, _FILLS),
    ("connections", {"connections": 4}, "kept = [socket.create_connection(('192.0.2.7', 99)) for _ in range(9)]"),
    ("gateway-bytes", {"gateway_mb": 1}, _POSTS),
]


def _run(fumehood: Fumehood, package: Path, profile: Path, code: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report, and its phases by name, of a run of which the second report is the same, byte for byte."""
    ran = fumehood.run(package, "--profile", profile)
    assert ran.code == code, ran.err
    assert ran.report["manifest"]["isolation"]["pod"] == os.environ["FUMEHOOD_POD"]
    again = fumehood("report", fumehood.bundle(), "--format", "json")
    assert again.out == ran.out
    return ran.report, {phase["name"]: phase for phase in ran.report["phases"]}


@pytest.mark.parametrize("case", ENDING, ids=[case[0] for case in ENDING])
def test_a_build_that_is_ended_at_a_limit(
    fumehood: Fumehood, tmp_path: Path, case: tuple[str, str, dict[str, int], str]
) -> None:
    name, status, limits, body = case
    report, phases = _run(fumehood, _sdist(tmp_path, body), _profile(tmp_path, **limits), 3)
    assert report["verdict"] == "inconclusive"
    install = phases["install"]
    (hit,) = install["limits"]
    assert (install["status"], hit["name"], hit["ended"]) == (status, name, True)
    assert hit["seen"] >= hit["limit"]
    assert f"install did not finish: {install['reason']}" in report["reasons"]
    assert install["reason"].startswith("ended at a limit: ")
    assert install["trace"]["lines"] > 100, "what was seen until then is kept"
    assert install["resources"]["cpu_seconds"] > 0
    for later in ("startup", "import", "exercise"):
        assert phases[later]["trace"]["lines"] > 50, "the next phases still run"
        assert phases[later]["limits"] == []


@pytest.mark.parametrize(("name", "limits", "body"), DISTURBING, ids=[case[0] for case in DISTURBING])
def test_a_build_that_was_disturbed_by_a_limit_is_not_clean_though_all_completed(
    fumehood: Fumehood, tmp_path: Path, name: str, limits: dict[str, int], body: str
) -> None:
    _, phases = _run(fumehood, _sdist(tmp_path, body), _profile(tmp_path, **limits), _code_of(name))
    assert {phase["status"] for phase in phases.values()} == {"completed"}
    (hit,) = phases["install"]["limits"]
    assert (hit["name"], hit["ended"]) == (name, False)
    assert phases["import"]["coverage"]["reached"] == 1


def _code_of(name: str) -> int:
    # A connection to a stranger while a package is built is a finding of its own: the worse verdict stands.
    return 1 if name in {"connections", "gateway-bytes"} else 3


def test_output_over_its_limit_leaves_a_run_clean_and_says_how_much(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "chatty", {"chatty.py": "import os; os.write(1, b'x' * 100_000)"})
    report, phases = _run(fumehood, wheel, _profile(tmp_path, output_kb=16), 0)
    assert report["verdict"] == "clean"
    (hit,) = phases["import"]["limits"]
    assert (hit["name"], hit["what"], hit["limit"]) == ("output", "stdout", 16 << 10)
    assert hit["lost"] == hit["seen"] - hit["limit"] >= 100_000 - (16 << 10)
