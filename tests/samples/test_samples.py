"""The sample packages are what they claim to be: inert outside a pod, reproducible, and known to the rules."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.sigma.load import load_rules
from tests.samples import build

EXPECTATIONS: dict[str, dict[str, Any]] = yaml.safe_load(
    (build.SAMPLES / "expectations.yaml").read_text(encoding="utf-8")
)
MARKER = "/opt/fumehood/pip_launcher.py"
"""The guard of every sample: a driver of ours where only pods have it; a checkout in /opt has it elsewhere."""
ATTACKS = tuple(name for name in build.names() if not name.endswith("-twin"))
SOURCES = tuple(
    path.relative_to(build.SAMPLES).as_posix()
    for name in build.names()
    for path in (build.SAMPLES / name).rglob("*.py")
)
HOST = re.compile(
    r"\b(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:test|example|invalid|com|net|org|io))\b"
)
HARMLESS = re.compile(
    r".*\.(?:test|example|invalid)|(?:192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]+|127\.0\.0\.1|169\.254\.169\.254"
)
WATCH = """
import runpy, sys, types
def refuse(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.system", "os.spawn", "os.posix_spawn")):
        raise RuntimeError(event)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
        raise RuntimeError(f"write to {arguments[0]}")
    if event in ("os.mkdir", "os.chmod", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"):
        raise RuntimeError(event)
sys.dont_write_bytecode = True
sys.modules["setuptools"] = types.SimpleNamespace(setup=lambda: None)
sys.addaudithook(refuse)
runpy.run_path(sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_samples_together_are_one_package_with_all_of_their_files(tmp_path: Path, kind: str) -> None:
    names = tuple(name for name in build.names() if EXPECTATIONS[name]["kind"] == kind)
    path = build.together(names, "whole", tmp_path)
    if kind == "wheel":
        with zipfile.ZipFile(path) as wheel:
            held = set(wheel.namelist())
        assert {f"{build.distribution(name)}/__init__.py" for name in names} <= held
    else:
        with tarfile.open(path) as sdist:
            held = {member.partition("/")[2] for member in sdist.getnames()}
        assert {build.setup_program(name) for name in names} <= held
    with pytest.raises(ValueError, match=f"in {names[0]} and in another sample"):
        build.together((names[0], names[0]), "whole", tmp_path)


def test_every_sample_has_an_expectation_and_a_twin() -> None:
    assert sorted(EXPECTATIONS) == sorted(build.names())
    assert {f"{name}-twin" for name in ATTACKS} == set(build.names()) - set(ATTACKS)
    assert len(ATTACKS) >= 8


@pytest.mark.parametrize("name", build.names())
def test_the_same_tree_gives_the_same_archive(name: str, tmp_path: Path) -> None:
    first = build.build(name, tmp_path).read_bytes()
    path = build.build(name, tmp_path)

    assert path.read_bytes() == first
    assert EXPECTATIONS[name]["kind"] == ("sdist" if path.name.endswith(".tar.gz") else "wheel")


@pytest.mark.parametrize("name", [name for name in build.names() if EXPECTATIONS[name]["kind"] == "wheel"])
def test_a_wheel_records_what_it_holds(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(build.build(name, tmp_path)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    record = f"{build.distribution(name)}-1.0.dist-info/RECORD"
    rows = {path: (digest, size) for path, digest, size in csv.reader(io.StringIO(members[record].decode()))}

    assert rows.keys() == members.keys()
    for path in members.keys() - {record}:
        digest = base64.urlsafe_b64encode(hashlib.sha256(members[path]).digest()).rstrip(b"=").decode()
        assert rows[path] == (f"sha256={digest}", str(len(members[path])))


@pytest.mark.parametrize("name", [name for name in build.names() if EXPECTATIONS[name]["kind"] == "sdist"])
def test_an_sdist_has_one_directory_with_its_metadata(name: str, tmp_path: Path) -> None:
    with tarfile.open(build.build(name, tmp_path)) as archive:
        members = set(archive.getnames())
    stem = f"{build.distribution(name)}-1.0"

    assert {f"{stem}/PKG-INFO", f"{stem}/pyproject.toml", f"{stem}/setup.py"} <= members
    assert all(member.startswith(f"{stem}/") for member in members)


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_but_the_guard_runs_at_the_top(source: str) -> None:
    tree = ast.parse((build.SAMPLES / source).read_text(encoding="utf-8"))

    for node in tree.body:
        text = ast.unparse(node)
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) == f"os.path.isfile({MARKER!r})"
            assert not node.orelse
        elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            assert text == "setup()"
        elif isinstance(node, ast.Assign):
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
            assert all(ast.unparse(call.func).startswith("os.path.") for call in calls)
        else:
            allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Expr)
            assert isinstance(node, allowed), text


@pytest.mark.parametrize("source", SOURCES)
def test_outside_a_pod_nothing_happens(source: str) -> None:
    assert not Path(MARKER).exists()
    done = subprocess.run(
        [sys.executable, "-I", "-c", WATCH, str(build.SAMPLES / source)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_watcher_sees_what_a_sample_would_do(tmp_path: Path) -> None:
    sample = build.SAMPLES / "persistence-bashrc" / "sample_persistence_bashrc" / "__init__.py"
    unguarded = tmp_path / "unguarded.py"
    text = sample.read_text(encoding="utf-8").replace(MARKER, __file__).replace("~/.bashrc", str(tmp_path / "rc"))
    unguarded.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-c", WATCH, str(unguarded)], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "RuntimeError: write to" in done.stderr
    assert not (tmp_path / "rc").exists()


@pytest.mark.parametrize("name", build.names())
def test_only_hosts_that_do_not_exist_are_named(name: str) -> None:
    files = [path for path in (build.SAMPLES / name).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    hosts = [host for path in files for host in HOST.findall(path.read_text(encoding="utf-8"))]

    assert [host for host in hosts if not HARMLESS.fullmatch(host)] == []


@pytest.mark.parametrize("name", ATTACKS)
def test_the_rules_that_must_fire_explain_the_verdict(name: str) -> None:
    expected = EXPECTATIONS[name]
    rules = {rule.name: rule for rule in load_rules(build.SAMPLES.parents[1] / "profiles" / "rules").rules}
    named = [rules[rule] for rule in expected["rules"]]

    assert expected["verdict"] == "malicious"
    assert any(rule.level == "critical" and not rule.nursery for rule in named)
    assert set(expected["techniques"]) <= {technique for rule in named for technique in rule.attack}
