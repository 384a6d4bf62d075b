"""`fumehood store ...`, as somebody types it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest
import structlog

from sandbox.cli import cli
from sandbox.commands import guarded
from sandbox.errors import UsageError
from sandbox.queue_commands import user
from sandbox.store_commands import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Done(NamedTuple):
    stdout: str
    stderr: str


Command: TypeAlias = "Callable[..., Done]"

GOLDEN = Path(__file__).parents[2] / "golden" / "bundles"
RUN = "6ca0783d325a0373"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden bundles in a store, taken in by a process of its own; the other commands are quicker in ours."""
    path = tmp_path_factory.mktemp("data")
    environment = {"HOME": str(path), "FUMEHOOD_DATA": str(path), "PATH": "/usr/bin:/bin"}
    added = subprocess.run(
        [Path(sys.executable).with_name("fumehood"), "store", "add", *sorted(GOLDEN.iterdir())],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.count(" malicious ") == 4
    return path


@pytest.fixture
def command(data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    for name, value in {"HOME": data, "FUMEHOOD_DATA": data, "LOGNAME": "me"}.items():
        monkeypatch.setenv(name, str(value))

    def call(*words: object, code: int = 0) -> Done:
        arguments = ["store", *map(str, words)]
        assert guarded(lambda: cli.main(arguments, prog_name="fumehood", standalone_mode=False)) == code
        return Done(*capfd.readouterr())

    yield call
    structlog.reset_defaults()


def run_of(name: str) -> str:
    return json.loads((GOLDEN / name / "manifest.json").read_text())["run"]


def test_runs_are_searched_for(command: Command) -> None:
    assert len(command("search").stdout.splitlines()) == 6
    assert len(command("search", "--verdict", "clean").stdout.splitlines()) == 2
    found = json.loads(command("search", "-i", "beacon[.]test", "--format", "json").stdout)
    assert [run["run"] for run in found["runs"]] == [run_of("pth-beacon")]
    none = command("search", "nothing-like-this")
    assert (none.stdout, none.stderr) == ("", "no run is like that\n")


def test_pages_follow_each_other(command: Command) -> None:
    first = command("search", "--limit", 4)
    cursor = first.stderr.rpartition(" ")[2].strip()
    second = command("search", "--limit", 4, "--cursor", cursor)
    assert (first.stdout + second.stdout).splitlines() == command("search").stdout.splitlines()
    assert second.stderr == ""


def test_a_run_is_shown_and_its_indicators_cannot_be_followed(command: Command) -> None:
    shown = command("show", run_of("pth-beacon")).stdout
    assert "hxxp://beacon[.]test/alive" in shown
    assert "in 1 runs, 0 of 0 known good ones" in shown
    told = json.loads(command("show", run_of("pth-beacon"), "--format", "json").stdout)
    assert {"kind": "url", "value": "http://beacon.test/alive"} in told["indicators"]


def test_labels_are_said_and_taken_away(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("golden-quiet")
    command("label", "known-good", run, "--note", "looked at it")
    assert "me, " in command("show", run).stdout
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    command("label", "known-good", run)
    assert f"{user()}, " in command("show", run).stdout
    assert run in command("search", "--label", "known-good").stdout
    command("label", "known-good", run, "--remove")
    assert command("search", "--label", "known-good").stdout == ""


def test_labels_outlive_the_database(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, shell = run_of("golden-quiet"), run_of("reverse-shell")
    command("label", "known-good", quiet, "--note", "looked at it \u2603")
    command("label", "reported", shell)
    written = tmp_path / "labels.jsonl"
    command("labels", "export", "-o", written)
    assert command("labels", "export").stdout == written.read_text(encoding="utf-8")
    assert [json.loads(line)["label"] for line in written.read_text().splitlines()] == (
        ["known-good", "reported"] if quiet < shell else ["reported", "known-good"]
    )
    command("label", "known-good", quiet, "--note", "looked again")
    assert command("labels", "import", written).stderr == "0 labels put, 2 were there already\n"
    assert "looked again" in command("show", quiet).stdout
    before = command("search", "--format", "json", "--label", "reported").stdout

    # Before the rows of the runs, and after them.
    for place, steps in (("one", ("import", "rebuild")), ("two", ("rebuild", "import"))):
        monkeypatch.setenv("FUMEHOOD_DATABASE", f"sqlite:///{tmp_path / place}.sqlite")
        for step in steps:
            if step == "rebuild":
                command("rebuild", "--jobs", 1)
            else:
                assert command("labels", "import", written).stderr == "2 labels put, 0 were there already\n"
        assert command("search", "--format", "json", "--label", "reported").stdout == before
        assert "looked at it \u2603" in command("show", quiet).stdout
        assert "reported" in command("show", shell).stdout
    monkeypatch.delenv("FUMEHOOD_DATABASE")
    command("label", "known-good", quiet, "--remove")
    command("label", "reported", shell, "--remove")


def test_what_is_no_export_is_refused_by_its_line(command: Command, tmp_path: Path) -> None:
    good = '{"run": "0123456789abcdef", "label": "seen", "note": "", "author": "me", "created": 1.0}\n'
    for bad in (
        "{}",
        "\xff",
        good.replace("seen", "SEEN"),
        good.replace("0123", "../x"),
        "[" * 70_000,
        good + good[:9],
    ):
        (tmp_path / "x.jsonl").write_text(good + bad, encoding="latin-1")
        refused = command("labels", "import", tmp_path / "x.jsonl", code=2)
        assert "line 2: " in refused.stderr or "line 3: " in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_evidence_is_exported_verified_and_rebuilt_from(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("reverse-shell")
    command("export", run, "-o", tmp_path / "it.zip")
    with zipfile.ZipFile(tmp_path / "it.zip") as archive:
        assert f"{run}/manifest.json" in archive.namelist()
    monkeypatch.chdir(tmp_path)
    command("export", run)
    # As it is called over HTTP.
    assert (tmp_path / f"fumehood-{run}.zip").read_bytes() == (tmp_path / "it.zip").read_bytes()
    assert command("verify").stdout == "6 runs verified: 0 faults\n"
    assert command("verify", run).stdout == "1 runs verified: 0 faults\n"
    before = command("search", "--format", "json").stdout
    assert command("rebuild", "--jobs", 1).stdout == "6 runs rebuilt, 0 bundles could not be read\n"
    assert command("search", "--format", "json").stdout == before


def test_pruning_can_be_tried(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMEHOOD_RETENTION_CLEAN_DAYS", "0")
    kept = command("prune", "--dry-run").stdout
    assert kept.startswith("0 bundles (0.0 MiB) would go, 6 (")
    assert command("verify").stdout == "6 runs verified: 0 faults\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "0123456789abcdef"), "there is no run '0123456789abcdef'; `fumehood store search` lists them"),
        (("label", "Known Good", RUN), "cannot be a label"),
        (("label", "seen", "0123456789abcdef"), "there is no run '0123456789abcdef'; nothing was changed"),
        (("search", "--since", "yesterday"), "'yesterday' is no time; write 2026-11-28"),
        (("search", "--version", "1.0"), "the version '1.0' of which package? name it too"),
        (("search", "--cursor", "x"), "the cursor is not one of ours"),
        (("search", "pkg:"), "is not a package URL"),
        (("export", "../../x"), "is not the id of a run"),
        (("add", "nowhere"), "nowhere: no such directory"),
    ],
)
def test_mistakes_are_told_in_one_line(command: Command, words: tuple[str, ...], said: str) -> None:
    done = command(*words, code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_evidence_that_is_not_there_is_told(command: Command, tmp_path: Path) -> None:
    done = command("export", "0123456789abcdef", "-o", tmp_path / "it.zip", code=4)
    assert "no evidence of run 0123456789abcdef is stored in" in done.stderr
    assert not (tmp_path / "it.zip").exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 999_910.0), ("2h", 992_800.0), ("1970-01-02", 86_400.0), ("1970-01-01T01:00+01:00", 0.0)],
)
def test_times_are_dates_times_and_ages(text: str, seconds: float) -> None:
    assert moment(text, 1_000_000.0) == seconds


@pytest.mark.parametrize("text", ["", "x", "7", "7y", "2026-13-01", "9" * 400 + "d"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        moment(text, 0.0)
