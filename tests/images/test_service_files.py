"""Units and containers start commands that there are, with settings that there are."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sandbox.cli import cli
from sandbox.config.environment import variables
from sandbox.redis_server.layout import redis_conf

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "images/systemd").glob("*.*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
SERVICE = ROOT / "images/service"
KNOWN = {variable.name for variable in variables()} | {"FUMEHOOD_CACHE", "FUMEHOOD_CONFIG"}
COMMAND = "/opt/fumehood/.venv/bin/fumehood"


def _compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def _is_understood(arguments: list[str]) -> bool:
    """Whether the command line takes these arguments: asked with --help, so that nothing is started."""
    return CliRunner().invoke(cli, [*arguments, "--help"]).exit_code == 0


def test_there_are_units() -> None:
    assert len(UNITS) == 6


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    # A timer is looked at with what it starts.
    for other in {unit, unit.with_suffix(".service")}:
        text = other.read_text().replace(COMMAND, str(Path(sys.executable).with_name("fumehood")))
        (tmp_path / other.name).write_text(text)
    here = tmp_path / unit.name
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_the_unit_starts_a_command_with_settings_that_there_are(unit: Path) -> None:
    text = unit.read_text()
    [line] = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    command, *arguments = shlex.split(line)
    assert command == COMMAND
    assert _is_understood(arguments)
    assert set(re.findall(r"\b(FUMEHOOD_[A-Z_]+)=", text)) <= KNOWN
    assert not set(re.findall(r"^Documentation=file:///opt/fumehood/(.+)$", text, re.MULTILINE)) - {
        str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")
    }


def test_commands_are_given_with_the_settings_of_the_units() -> None:
    program = ROOT / "images/systemd/fumehood"
    assert program.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", program], check=True)
    text = program.read_text()
    unit = (ROOT / "images/systemd/fumehood.service").read_text()
    [user] = re.findall(r"^User=(.+)$", unit, re.MULTILINE)
    assert f"--uid={user} " in text
    for setting in re.findall(r"^(EnvironmentFile=.+|UMask=.+)$", unit, re.MULTILINE):
        assert f"--property={setting} " in text
    for variable in re.findall(r"\bFUMEHOOD_[A-Z_]+=\S+", unit):
        assert f"--setenv={variable} " in text
    assert text.endswith(f'{COMMAND} "$@"\n')


def test_containers_start_commands_with_settings_that_there_are() -> None:
    services = _compose()["services"]
    assert set(services) == {"postgresql", "redis", "serve", "worker", "sweeps"}
    for name, service in services.items():
        if "entrypoint" in service:
            [program] = service["entrypoint"]
            assert (ROOT / Path(program).relative_to("/opt/fumehood")).stat().st_mode & 0o111, name
        else:
            assert _is_understood(service["command"]), name
            assert {key for key in service["environment"] if key.startswith("FUMEHOOD_")} <= KNOWN


def test_no_container_but_the_worker_is_let_off_anything() -> None:
    for name, service in _compose()["services"].items():
        assert "privileged" not in service
        assert "cap_add" not in service
        if name != "worker":
            assert not [option for option in service.get("security_opt", []) if "unconfined" in option]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_secret_of_the_containers_is_asked_for() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    example = (SERVICE / "example.env").read_text()
    assert used == set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    assert not re.findall(r"^[A-Z_]*PASSWORD=.+", example, re.MULTILINE)


def test_images_come_from_this_machine_alone() -> None:
    images = {service["image"] for service in _compose()["services"].values()}
    assert images == {"fumehood/service"}
    assert re.findall(r"^(?:ARG BASE=|FROM )(.+)$", (SERVICE / "Dockerfile").read_text(), re.MULTILINE) == [
        "fumehood/debian",
        "${BASE}",
    ]


def test_every_redis_has_the_same_rules() -> None:
    [rules] = re.findall(
        r"(~fumehood:.+)$", redis_conf(Path("/nowhere"), Path("/nowhere/socket"), "secret"), re.MULTILINE
    )
    assert rules in (SERVICE / "redis").read_text()
    assert rules in (ROOT / "docs/operations.md").read_text()


def test_the_image_is_made_of_the_whole_checkout(tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.said"\nexec cat >"$0.tar"\n')
    engine.chmod(0o755)
    runpy.run_path(str(SERVICE / "build"))["build_service"](str(engine))
    said = (tmp_path / "engine.said").read_text().split()
    with tarfile.open(tmp_path / "engine.tar") as context:
        names = set(context.getnames())
    assert said[said.index("--file") + 1] in names
    assert {"Makefile", "requirements.lock", ".ci/find-python", "sandbox/cli.py", "collector/analyse.py"} <= names


def test_each_authority_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "tree/usr/local/share/ca-certificates"
    folder.mkdir(parents=True)
    both = [f"-----BEGIN CERTIFICATE-----\n{line}\n-----END CERTIFICATE-----\n" for line in ("b25l", "dHdv")]
    (tmp_path / "both.pem").write_text(f"# ours\n{both[0]}\n{both[1]}")
    *hooks, last = runpy.run_path(str(SERVICE / "build"))["authority_hooks"](tmp_path / "both.pem")
    for hook in hooks:
        subprocess.run(["sh", "-c", hook, "sh", tmp_path / "tree"], check=True)
    assert last == 'chroot "$1" update-ca-certificates'
    assert sorted(path.read_text() for path in folder.glob("*.crt")) == both
