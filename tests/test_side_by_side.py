"""Tests that run side by side: what belongs together stays together, and who must be alone is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_HOOKS = """
from tests.side_by_side import (
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_xdist_make_scheduler,
)
"""
_TESTS = """
import os, pathlib, time, pytest

def lives(name, seconds):
    with open(os.environ["LOG"], "a") as log:
        print("+", name, os.environ["PYTEST_XDIST_WORKER"], file=log, flush=True)
        time.sleep(seconds)
        print("-", name, os.environ["PYTEST_XDIST_WORKER"], file=log, flush=True)

@pytest.mark.parametrize("n", range(6))
def test_it(n):
    lives("other", 0.2)

@pytest.mark.alone
@pytest.mark.parametrize("n", range(3))
def test_alone(n):
    lives("alone", 0.1)
"""


def _run(place: Path, *names: str) -> list[list[str]]:
    """What tests of three files, in as many processes, wrote down: begin or end, what, and in which process."""
    (place / "conftest.py").write_text(_HOOKS)
    (place / "pytest.ini").write_text("[pytest]\nmarkers = alone: yes\n  early: yes\n")
    for name in names:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_TESTS)
    words = ["-n3", "--dist=loadscope", "--no-loadscope-reorder", "-p", "no:cacheprovider", "--import-mode=importlib"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"--basetemp={place}/temporary", "."],
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        env={**environment, "PYTHONPATH": str(_ROOT), "LOG": f"{place}/log"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^=* {9 * len(names)} passed in .*=$", done.stdout, re.MULTILINE), "the closing line is pytest's"
    return [line.split() for line in (place / "log").read_text().splitlines()]


def test_who_must_be_alone_is_and_the_others_are_not(tmp_path: Path) -> None:
    told = _run(tmp_path, "test_a.py", "test_b.py", "test_c.py")
    running: list[str] = []
    most = 0
    for act, name, _ in told:
        if act == "-":
            running.remove(name)
            continue
        running.append(name)
        assert running == ["alone"] or "alone" not in running, told
        most = max(most, len(running))
    assert most > 1, "else nothing ran side by side"
    assert running == []


def test_a_files_tests_stay_together_and_long_ones_do_not(tmp_path: Path) -> None:
    told = _run(tmp_path, "tests/run/test_a.py")
    assert len({process for _, _, process in told}) > 1
    (tmp_path / "log").unlink()
    (tmp_path / "tests/run/test_a.py").unlink()
    told = _run(tmp_path, "test_b.py")
    assert len({process for _, _, process in told}) == 1
