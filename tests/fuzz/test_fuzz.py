"""A few seconds of what `make fuzz` does at length, always with the same inputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from collector.strace import Unparsed, parse
from tests.fuzz import target as targets
from tests.fuzz.__main__ import CORPUS, seeds

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(("target", "runs"), [("tokenizer", 4000), ("reader", 1500)])
def test_no_input_breaks_the_reading_of_traces(target: str, runs: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--runs", str(runs)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    executed = re.search(r"number_of_executed_units: ([0-9]+)", done.stderr)
    assert executed is not None, done.stderr
    assert int(executed[1]) >= runs
    assert list(tmp_path.iterdir()) == []


def test_the_seeds_are_traces_that_are_understood(tmp_path: Path) -> None:
    """A corpus that the reader refuses would lead the fuzzer nowhere."""
    assert seeds(tmp_path) >= 30
    for trace in CORPUS.iterdir():
        with trace.open("rb") as lines:
            assert [item for item in parse(lines) if isinstance(item, Unparsed)] == []
        targets.reader(trace.read_bytes())


def test_a_line_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fuzzer checks can fail."""
    monkeypatch.setattr(targets, "parse", lambda lines: parse(lines[:-1]))
    with pytest.raises(AssertionError):
        targets.tokenizer(b"20 1.5 setsid() = 2\n20 1.6 setsid() = 2")
