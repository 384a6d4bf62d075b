"""`fumehood rules ...`: what each command prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sandbox.rules_commands import load_rules
from tests.collector.sigma.sigmas import OTHER_ID, rule
from tests.collector.test_analyse import stolen

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ROOT / "tests" / "collector" / "sigma" / "foreign"


def fumehood(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line from here."""
    command: Sequence[str] = [sys.executable, "-c", "from sandbox.entry import main; main()", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ})


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Rules of which one holds, one claims too much and one never matches."""
    place = tmp_path / "rules"
    place.mkdir()
    examples = [{"name": "a", "match": True, "events": ["import target 1 file.read path=/x"]}]
    (place / "held.yml").write_text(yaml.safe_dump(rule()))
    claims = rule(id=OTHER_ID, fumehood={"why": "x", "examples": [*rule()["fumehood"]["examples"], *examples]})
    (place / "claims.yml").write_text(yaml.safe_dump(claims))
    return place


@pytest.mark.parametrize("command", ["list", "check", "test", "lint", "explain", "docs"])
def test_every_command_teaches(command: str) -> None:
    ran = fumehood("rules", command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) > 5


def test_rules_by_others_are_listed_with_those_that_are_skipped() -> None:
    ran = fumehood("rules", "list", "--sigma", FOREIGN / "linux", "--sigma", FOREIGN / "skipped")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "rules by others: 26 loaded" in ran.stdout
    assert "windows.yml: logsource: the pod is Linux, not windows (Windows Rule)" in ran.stdout
    told = json.loads(fumehood("rules", "list", "--sigma", FOREIGN, "--format", "json").stdout)
    assert sum(it["foreign"] for it in told["rules"]) == 26
    assert {"path", "title", "reason"} == set(told["skipped"][0])


def test_testing_goes_on_after_a_rule_that_fails(broken: Path) -> None:
    ran = fumehood("rules", "test", "--rules", broken)
    assert ran.returncode == 1
    assert "ok    held: 2 examples" in ran.stdout
    assert "FAIL  claims.yml:" in ran.stdout
    assert "1 rules hold with 2 examples, 1 fail" in ran.stdout
    (broken / "claims.yml").unlink()
    assert fumehood("rules", "test", "--rules", broken).returncode == 0


def test_a_name_that_is_no_rule_is_refused_with_the_nearest(broken: Path) -> None:
    (broken / "claims.yml").unlink()
    for command in ("test", "explain"):
        ran = fumehood("rules", command, "hold", "--rules", broken)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == "fumehood: there is no rule 'hold'; did you mean held?\n"


def test_wrong_usage_is_one_line_that_names_the_help(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for arguments, said in (
        (("rules", "lst"), "No such command 'lst'. Did you mean 'list'? (see `fumehood rules --help`)"),
        (("rules", "explain"), "Missing argument 'NAME' (see `fumehood rules explain --help`)"),
        (
            ("replay", "--rules", "x"),
            "Invalid value for '--rules': Directory 'x' does not exist (see `fumehood replay --help`)",
        ),
        (
            ("rules", "lint", "--rules", file),
            f"Invalid value for '--rules': Directory '{file}' is a file (see `fumehood rules lint --help`)",
        ),
    ):
        ran = fumehood(*arguments)
        assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"fumehood: {said}\n")
    assert fumehood("rules").stderr.startswith("Usage: fumehood rules "), "no mistake yet: the help"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("rules", "explain", "ssh-k"), {"plain,ssh-keys-read"}),
        (("rules", "test", "ssh-keys-read", "bait-leaves-by-h"), {"plain,bait-leaves-by-http"}),
        (("rules", "test", "--bundle", "x"), {"dir,x"}),
        (("events", "--kind", "tls"), {"plain,tls", "plain,tls.hello"}),
        (("report", "x"), {"dir,x"}),
        (("replay", "x"), {"dir,x"}),
        (("run", "--profile", "p"), {"plain,pypi"}),
        (("run", "--profile", "./mine"), {"file,./mine"}),
        (("run", "p"), {"plain,pkg:pypi/"}),
        (("run", "./x"), {"file,./x"}),
    ],
)
def test_completion_offers_what_fits(typed: tuple[str, ...], offered: set[str]) -> None:
    words = " ".join(("fumehood", *typed))
    asked = {"_FUMEHOOD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(typed))}
    code = "from sandbox.entry import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **asked}
    )
    assert ran.stderr == ""
    assert set(ran.stdout.splitlines()) == offered


def test_rules_are_tried_on_a_bundle_without_showing_bait(tmp_path: Path) -> None:
    bundle = stolen(tmp_path / "bundle")
    ran = fumehood("rules", "test", "--bundle", bundle)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "critical      bait-leaves-by-http: 1 events in import by target" in ran.stdout
    assert "key=\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}bait:" in ran.stdout
    told = json.loads(fumehood("rules", "test", "bait-leaves-by-http", "--bundle", bundle, "--format", "json").stdout)
    assert [(it["name"], it["count"], len(it["events"])) for it in told] == [("bait-leaves-by-http", 1, 1)]


def test_a_report_with_rules_by_others_counts_them_and_is_not_malicious_for_them(tmp_path: Path) -> None:
    place = tmp_path / "sigma"
    place.mkdir()
    (place / "read.yml").write_text(
        "title: Anything Read\nlogsource: {product: linux, category: file_access}\nlevel: critical\n"
        "detection: {selection: {TargetFilename|contains: credentials}, condition: selection}\n"
    )
    (place / "other.yml").write_text(
        "title: Windows\nlogsource: {product: windows}\ndetection: {s: [x], condition: s}\n"
    )
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "key-read.yml").write_text(yaml.safe_dump(rule()))
    bundle = stolen(tmp_path / "bundle")
    ran = fumehood("report", bundle, "--rules", ours, "--sigma", place, "--format", "json")
    told = json.loads(ran.stdout)
    assert told["manifest"]["sigma"] == {"loaded": 1, "skipped": 1}
    assert [(it["name"], it["level"], it["nursery"]) for it in told["findings"]] == [("sigma/read", "critical", True)]
    assert told["verdict"] == "suspicious"
    assert told["manifest"]["rules_sha256"] == load_rules(ours, [place]).digest
    text = fumehood("report", bundle, "--rules", ours, "--sigma", place).stdout
    assert "rules by others: 1 loaded, 1 skipped" in text


def test_linting_fails_on_errors_alone(broken: Path) -> None:
    ran = fumehood("rules", "lint", "--rules", broken)
    assert ran.returncode == 1
    assert "error   does-not-load  claims.yml:" in ran.stdout
    (broken / "claims.yml").write_text(yaml.safe_dump(rule(id=OTHER_ID, level="low")))
    told = json.loads(fumehood("rules", "lint", "--rules", broken, "--format", "json").stdout)
    assert {(it["path"], it["code"], it["severity"]) for it in told} == {("held.yml", "duplicate", "error")}
    (broken / "claims.yml").unlink()
    assert fumehood("rules", "lint", "--rules", broken).returncode == 0


def test_explanations_fit_a_terminal_and_help_keeps_its_lines() -> None:
    prose = fumehood("rules", "explain", "ssh-keys-read").stdout.partition("\nlooks at ")[0]
    assert "why it matters: " in prose
    assert max(map(len, prose.splitlines())) <= 80
    assert "\n    fumehood rules list --sigma ./sigma/rules/linux\n" in fumehood("rules", "list", "--help").stdout


def test_a_rule_is_explained_line_by_line() -> None:
    ran = fumehood("rules", "explain", "credentials-read-then-sent")
    assert ran.returncode == 0
    assert "It fires on temporal_ordered of credential-file-opened, unknown-host-after-credentials within 10m." in (
        ran.stdout
    )
    assert "MATCHES credential-file-opened; fits credential-file-opened: opened" in ran.stdout
    told = json.loads(
        fumehood("rules", "explain", "linux/lnx_auditd_exec", "--sigma", FOREIGN / "linux", "--format=json").stdout
    )
    assert (told["foreign"], told["looks"][0]["kinds"], told["examples"]) == (True, ["process.exec"], [])


def test_the_tables_of_the_documentation_are_printed_and_renewed(tmp_path: Path) -> None:
    printed = fumehood("rules", "docs").stdout
    assert "| `base64offset` |" in printed
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {it}: begin -->\n<!-- {it}: end -->\n" for it in ("modifiers", "foreign", "fields")))
    assert fumehood("rules", "docs", "--update", page).returncode == 0
    assert "| `base64offset` |" in page.read_text()
