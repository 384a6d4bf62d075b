"""The catalogue is complete, and its packages are inert: they act in a pod only and name nobody who exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import build
from tests.packages.observe import ROOT, shipped_rules
from tests.samples.test_samples import HARMLESS, HOST, WATCH

ROWS = [(family, row) for family in build.families() for row in build.emulations(family)]
ELSEWHERE = {
    "start-hook-installed": "pip's own doing: test_emulations.py looks for it in the packages that have a start hook",
}
"""Rules that no row of the catalogue is for, with the reason."""


def test_every_rule_has_an_emulation() -> None:
    named = {row.rule for _, row in ROWS}
    rules = {rule.name for rule in shipped_rules().rules}
    assert rules - named - ELSEWHERE.keys() == set(), "add a row to tests/packages/catalogue/"
    assert (named | ELSEWHERE.keys()) - rules == set(), "there is no such rule"


def test_no_two_rows_have_one_name() -> None:
    names = [row.name for _, row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("side", build.SIDES)
@pytest.mark.parametrize("family", build.families())
def test_the_same_table_gives_the_same_package(family: str, side: build.Side, tmp_path: Path) -> None:
    first = build.build(family, side, tmp_path).read_bytes()
    assert build.build(family, side, tmp_path).read_bytes() == first


@pytest.mark.parametrize(("family", "row"), ROWS, ids=[row.name for _, row in ROWS])
def test_a_row_says_what_it_should(family: str, row: build.Emulation) -> None:
    assert row.because
    assert not row.because.endswith(".")
    for side in build.SIDES:
        assert ast.parse(build.module(row, family, side))


@pytest.mark.parametrize(("family", "row"), ROWS, ids=[row.name for _, row in ROWS])
def test_a_row_names_only_hosts_that_do_not_exist(family: str, row: build.Emulation) -> None:
    hosts = [host for side in build.SIDES for host in HOST.findall(build.module(row, family, side))]
    assert [host for host in hosts if not HARMLESS.fullmatch(host)] == []


@pytest.mark.parametrize("side", build.SIDES)
@pytest.mark.parametrize("family", build.families())
def test_outside_a_pod_nothing_happens(family: str, side: build.Side, tmp_path: Path) -> None:
    assert not Path(build.MARKER).exists()
    for row in build.emulations(family):
        source = re.sub(r"from [a-z_.]*emulated_kit", "from emulated_kit", build.module(row, family, side))
        call = "\nact()\n" if row.at == "command" else ""
        (tmp_path / f"{row.name}.py").write_text(source + call, encoding="utf-8")
    kit = f"import sys; sys.path.insert(0, {str(build.HERE / 'program')!r})\nimport emulated_kit\n"
    each = WATCH.replace("runpy.run_path(sys.argv[1])", "for path in sys.argv[1:]:\n    runpy.run_path(path)")
    modules = sorted(tmp_path.glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", kit + each, *modules], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_watcher_sees_what_an_emulation_would_do(tmp_path: Path) -> None:
    (row,) = (row for row in build.emulations("execution") if row.name == "open_port_listened")
    source = build.module(row, "execution", "attack").replace(build.MARKER, __file__)
    module = tmp_path / "module.py"
    module.write_text(re.sub(r"from [a-z_.]*emulated_kit", "from emulated_kit", source), encoding="utf-8")
    kit = f"import sys; sys.path.insert(0, {str(build.HERE / 'program')!r})\nimport emulated_kit\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", kit + WATCH, module], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "RuntimeError: socket." in done.stderr


@pytest.mark.parametrize("name", ["backend", "kit", "start"])
def test_what_they_share_names_only_hosts_that_do_not_exist(name: str) -> None:
    text = (build.HERE / "program" / f"emulated_{name}.py").read_text(encoding="utf-8")
    assert [host for host in HOST.findall(text) if not HARMLESS.fullmatch(host)] == []


def test_the_page_on_detection_is_about_these_rules() -> None:
    text = (ROOT / "docs" / "detection.md").read_text(encoding="utf-8")
    rules = {rule.name for rule in shipped_rules().rules}
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text))
    assert named - rules == set(), "the page names rules that do not exist"
    assert rules - named == set(), "the page leaves rules out"
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert numbers == list(range(1, 73))
