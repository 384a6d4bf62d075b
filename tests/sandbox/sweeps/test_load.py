"""A file of sweeps that is wrong is told with line and remedy."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

import pytest

from sandbox.errors import SweepsFileError, UsageError
from sandbox.resources import profile_names, profiles_directory
from sandbox.sweeps.load import find_sweeps, load_plans, load_sweeps, pick
from sandbox.sweeps.schedule import latest, moments

GOOD = """\
sweeps:
  ours:
    feed:
      kind: file
      source: names.txt
    filters:
      names: ["a*"]
    schedule: "30 2 * * *"
    timezone: Europe/Berlin
"""

FILE = "kind: file\n      source: names.txt"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweeps.yaml"
    path.write_text(text)
    return path


def test_the_shipped_sweeps_load_and_are_no_profile() -> None:
    sweeps = load_sweeps(find_sweeps({}))
    assert list(sweeps) == ["new-projects", "updates"]
    assert "sweeps" not in profile_names()
    assert "pypi" in profile_names()


def test_the_examples_in_the_shipped_file_are_right(tmp_path: Path) -> None:
    lines = (profiles_directory() / "sweeps.yaml").read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("  # trending:"))
    examples = [line.removeprefix("  #").removeprefix(" ") for line in lines[start:]]
    text = "sweeps:\n" + "".join(f"  {line}\n" for line in examples)
    assert list(load_sweeps(written(tmp_path, text))) == ["trending", "ours", "advisories", "since-november"]


def test_the_example_in_the_documentation_is_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text()
    plans = load_plans(written(tmp_path, "".join(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))))
    assert plans.sweeps["ours"].budget.submissions == 300
    assert plans.digest is not None
    assert plans.digest.place == Path("/var/lib/fumehood/digests")


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    assert find_sweeps({"FUMEHOOD_SWEEPS": "/there"}) == Path("/there")
    assert find_sweeps({"FUMEHOOD_SWEEPS": "/there"}, tmp_path) == tmp_path


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    sweep = load_sweeps(written(tmp_path, GOOD))["ours"]
    assert sweep.directory == tmp_path
    with pytest.raises(UsageError, match=r"no sweep 'our'; did you mean 'ours'"):
        pick({"ours": sweep}, "our")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: file", "kind: files", 4, "files"),
        ("      source: names.txt\n", "", 4, "'source' is missing: a feed of kind 'file' needs it"),
        ("source: names.txt", "source: a\n      watch: b", 6, "no 'watch'; it may have: source"),
        ("source: names.txt", "source: https://index.example/x", 5, "download it"),
        ("30 2 * * *", "30 2 * *", 8, "five fields"),
        ("30 2 * * *", "61 2 * * *", 8, "no schedule"),
        ("30 2 * * *", "0 0 31 2 *", 8, "no schedule"),
        ("Europe/Berlin", "Europe/Nowhere", 9, "no time zone"),
        ("Europe/Berlin", "../../etc/passwd", 9, "timezone"),
        ('["a*"]', '["A b"]', 7, "names"),
        ('names: ["a*"]', "newer_than_days: 3\n      older_than_days: 5", 7, "both newer than 3 days and older"),
        ('names: ["a*"]', "artefacts: [wheel, wheel]", 7, "each once"),
        ('names: ["a*"]', "artefacts: []", 7, "at least one"),
        ('names: ["a*"]', "size: 3", 7, "unknown key 'size'"),
        ("  ours:", "  Ours!:", 2, "Ours!"),
        (
            "kind: file\n      source: names.txt",
            "kind: releases\n      watch: w\n      since: 2026-02-31",
            6,
            "no date",
        ),
        ("kind: file\n      source: names.txt", "kind: trending\n      source: http://x.example", 5, "https://"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(SweepsFileError) as failure:
        load_sweeps(path)
    assert str(failure.value).startswith(f"{path}:{line}: ")
    assert words in str(failure.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SweepsFileError, match="cannot be read"):
        load_sweeps(tmp_path / "missing.yaml")
    path = tmp_path / "sweeps.yaml"
    path.write_bytes(b"sweeps:\n  \xff")
    with pytest.raises(SweepsFileError, match=r"sweeps\.yaml:2: not UTF-8"):
        load_sweeps(path)
    os.truncate(path, 0)
    with pytest.raises(SweepsFileError, match="empty"):
        load_sweeps(path)


def at(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).timestamp()


def test_moments_follow_the_time_zone_through_its_changes(tmp_path: Path) -> None:
    sweep = load_sweeps(written(tmp_path, GOOD))["ours"]
    spring = list(islice(moments(sweep, at("2026-03-28T00:00+00:00")), 3))
    assert spring[0] == at("2026-03-28T02:30+01:00")
    assert spring[2] == at("2026-03-30T02:30+02:00")
    autumn = list(islice(moments(sweep, at("2026-10-24T12:00+00:00")), 3))
    assert autumn == sorted(set(autumn))
    assert autumn[-1] <= at("2026-10-27T02:30+01:00")


def test_what_was_missed_is_one_moment(tmp_path: Path) -> None:
    sweep = load_sweeps(written(tmp_path, GOOD))["ours"]
    served, now = at("2026-11-01T12:00+01:00"), at("2026-11-10T12:00+01:00")
    assert latest(sweep, served, now) == at("2026-11-10T02:30+01:00")
    assert latest(sweep, at("2026-11-10T02:30+01:00"), now) is None
    assert latest(sweep, served, at("2026-11-02T02:30+01:00")) == at("2026-11-02T02:30+01:00")
