"""`fumehood replay`: stored runs judged by other rules, from the command line to its output and exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from sandbox.cli import cli
from sandbox.commands import guarded
from sandbox.evidence.directory import DirectoryStore
from tests.collector.bundles import HOME, make_package, write_bundle
from tests.collector.sigma.sigmas import ID, OTHER_ID, RULE
from tests.collector.traces import COMMANDS, Strace, real_phases

if TYPE_CHECKING:
    from pathlib import Path

KEY = f"{HOME}/.ssh/id_rsa"


def make_bundle(path: Path, name: str, *read: str) -> Path:
    """A run in which an import reads files."""
    traces = {phase: Strace(phase) for phase, argv in COMMANDS.items() if argv}
    trace = traces["import"]
    child = trace.run(trace.root, "/usr/bin/python3.11", "python", "-c", "x")
    for file in read:
        trace.read(child, file)
    trace.exit(child)
    for one in traces.values():
        one.exit(one.root)
    texts = {phase: one.text() for phase, one in traces.items()}
    return write_bundle(path / name, phases=real_phases(), traces=texts, package=make_package(name))


def make_rules(directory: Path, **levels: str) -> Path:
    """Rules that fire when a key is read, one for each name, with its level."""
    directory.mkdir()
    for number, (name, level) in zip((ID, OTHER_ID), levels.items(), strict=False):
        document = {**RULE, "id": number, "level": level}
        (directory / f"{name}.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    return directory


class Replay:
    def __init__(self, *arguments: object) -> None:
        runner = CliRunner()
        with runner.isolation() as (out, err, _):
            self.code = guarded(lambda: cli.main(["replay", *map(str, arguments)], standalone_mode=False))
            self.out, self.err = out.getvalue().decode(), err.getvalue().decode()

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(name="bundles")
def make_bundles(tmp_path: Path) -> Path:
    directory = tmp_path / "bundles"
    make_bundle(directory, "quiet", "/etc/hosts")
    make_bundle(directory, "thief", KEY)
    return directory


@pytest.fixture(name="old")
def make_old(tmp_path: Path) -> Path:
    return make_rules(tmp_path / "old", read="low")


def test_what_changed_is_told_and_what_did_not_is_counted(tmp_path: Path, bundles: Path, old: Path) -> None:
    new = make_rules(tmp_path / "new", read="high", other="critical")
    ran = Replay("--rules", new, "--against", old, bundles)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "pkg:pypi/thief@1.0  wheel  clean -> malicious",
        f"  {bundles}/thief",
        "  + other: A key is read (import by target), 1 event, critical as proof",
        "  ~ read: A key is read (import by target), 1 event, low as context -> 1 event, high as suspicion",
        "2 bundles, 1 judged differently; 1 clean -> malicious",
    ]
    assert ran.err == ""


def test_the_same_as_data(tmp_path: Path, bundles: Path, old: Path) -> None:
    new = make_rules(tmp_path / "new", other="medium")
    (new / "other.yml").write_text((new / "other.yml").read_text().replace(ID, OTHER_ID))
    ran = Replay("--rules", new, "--against", old, "--format", "json", bundles)
    document = ran.document
    assert ran.code == 1
    assert document["schema"] == "fumehood.replay/1"
    assert document["summary"] == {
        "bundles": 2,
        "changed": 1,
        "verdicts": {"clean -> suspicious": 1},
        "unread": 0,
    }
    quiet, thief = document["bundles"]
    assert (quiet["added"], quiet["removed"], quiet["changed"]) == ([], [], [])
    assert quiet["before"] == quiet["after"] == {"verdict": "clean", "classification": ""}
    assert [(found["name"], found["level"], found["weight"], found["count"]) for found in thief["added"]] == [
        ("other", "medium", "suspicion", 1)
    ]
    assert [found["name"] for found in thief["removed"]] == ["read"]
    assert document["before_sha256"] != document["after_sha256"]


def test_the_same_rules_change_nothing(bundles: Path, old: Path) -> None:
    ran = Replay("--rules", old, "--against", old, bundles / "thief", bundles / "quiet")
    assert (ran.code, ran.out) == (0, "2 bundles, 0 judged differently\n")


def test_the_shipped_rules_are_the_yardstick_unless_others_are_named(bundles: Path, old: Path) -> None:
    ran = Replay("--rules", old, bundles / "thief", "--format", "json")
    (thief,) = ran.document["bundles"]
    assert "ssh-keys-read" in {found["name"] for found in thief["removed"]}


def test_a_bundle_that_cannot_be_read_is_told_and_the_rest_goes_on(bundles: Path, old: Path, tmp_path: Path) -> None:
    (bundles / "quiet" / "bait.json").write_bytes(b"[]")
    new = make_rules(tmp_path / "new", read="high")
    ran = Replay("--rules", new, "--against", old, bundles / "quiet", bundles / "thief", tmp_path / "absent")
    assert ran.code == 3
    *_, altered, absent, total = ran.out.splitlines()
    assert altered.startswith(f"not read: {bundles}/quiet: 'bait.json' has not the s")
    assert absent.startswith(f"not read: {tmp_path}/absent: no such directory")
    assert total == "1 bundle, 1 judged differently; 1 clean -> suspicious; 2 could not be read"


def test_rules_by_others_are_tried_and_not_compared_with(tmp_path: Path, bundles: Path, old: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    document = {key: value for key, value in RULE.items() if key != "fumehood"}
    (others / "key.yml").write_text(yaml.safe_dump({**document, "id": OTHER_ID, "level": "critical"}))
    (others / "windows.yml").write_text(
        yaml.safe_dump({**document, "title": "W", "logsource": {"product": "windows", "category": "file_access"}})
    )
    ran = Replay("--rules", old, "--against", old, "--sigma", others, bundles)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "pkg:pypi/thief@1.0  wheel  clean -> suspicious",
        f"  {bundles}/thief",
        "  + others/key: A key is read (import by target), 1 event, critical as suspicion",
        "2 bundles, 1 judged differently; 1 clean -> suspicious",
        "1 rule by others tried; 1 cannot run here",
    ]
    alone = Replay("--sigma", others, "--format", "json", bundles).document
    assert alone["sigma"] == {"loaded": 1, "skipped": 1}
    assert [found["name"] for one in alone["bundles"] for found in one["added"]] == ["others/key"]
    assert [one["removed"] for one in alone["bundles"]] == [[], []]


def test_something_must_be_there_to_try(bundles: Path) -> None:
    ran = Replay(bundles)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "fumehood: there are no rules to try; name a directory with --rules or --sigma\n"


def test_rules_that_do_not_load_are_told_before_any_bundle_is_read(bundles: Path, tmp_path: Path) -> None:
    broken = make_rules(tmp_path / "new", read="grave")
    ran = Replay("--rules", broken, bundles)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("fumehood: read.yml:")


def test_a_directory_of_evidence_stands_for_the_runs_in_it(tmp_path: Path, bundles: Path, old: Path) -> None:
    store = DirectoryStore(tmp_path / "evidence")
    make_bundle(bundles, "other", "/etc/hosts")
    runs = ["aa00000000000001", "aa00000000000002", "bb00000000000003"]
    for run, path in zip(runs, sorted(bundles.iterdir()), strict=True):
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps(manifest | {"run": run}))
        store.put(path)
    ran = Replay("--rules", old, "--against", old, tmp_path / "evidence")
    assert (ran.code, ran.out) == (0, "3 bundles, 0 judged differently\n")


def test_a_directory_without_bundles(tmp_path: Path, old: Path) -> None:
    ran = Replay("--rules", old, tmp_path)
    assert ran.code == 3
    assert "not a sealed bundle" in ran.out
