"""`fumehood sweep ...` as people and timers use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import structlog
from sqlalchemy import insert, select, update

from sandbox.cli import cli
from sandbox.commands import guarded
from sandbox.database import open_database, upgrade, writing
from sandbox.database.schema import SUBMISSIONS, SWEEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import SweptIndex

FILE = """\
sweeps:
  ours:
    feed: {kind: file, source: names.txt}
    schedule: "* * * * *"
  watched:
    feed: {kind: updates, watch: watch.txt}
digest:
  schedule: "* * * * *"
  directory: digests
"""


@pytest.fixture(name="variables")
def environment(tmp_path: Path, index: SweptIndex, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    (tmp_path / "sweeps.yaml").write_text(FILE)
    (tmp_path / "names.txt").write_text("one\nmissing\n")
    (tmp_path / "watch.txt").write_text("one\n")
    index.release("one", "1.0")
    variables = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{index.base}/simple",
        "FUMEHOOD_DATA": str(tmp_path / "data"),
        "FUMEHOOD_CACHE": str(tmp_path / "cache"),
        "FUMEHOOD_SWEEPS": str(tmp_path / "sweeps.yaml"),
    }
    for name in [name for name in os.environ if name.startswith(("FUMEHOOD_", "PIP_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


Ran = tuple[int, str, str]


@pytest.fixture
def fumehood(variables: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ran]]:
    """Runs a command: exit code, standard output, standard error."""
    assert variables

    def run(*words: str) -> Ran:
        capfd.readouterr()
        code = guarded(lambda: cli.main([*words], prog_name="fumehood", standalone_mode=False) or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    yield run
    # Commands log to the standard error of this test, which ends with it.
    structlog.reset_defaults()


def test_a_sweep_by_hand(fumehood: Callable[..., Ran], index: SweptIndex) -> None:
    code, out, _ = fumehood("sweep", "run", "ours", "--dry-run")
    assert code == 0
    assert "submit     auto  pkg:pypi/one@1.0" in out
    assert "gone       auto  pkg:pypi/missing" in out
    assert json.loads(fumehood("sweep", "list", "--format", "json")[1])[0]["last"] is None
    code, out, err = fumehood("sweep", "run", "ours")
    assert (code, out) == (0, "ours: complete; 1 submitted, 1 gone\n")
    assert "2 packages named" in err
    assert "existing" in fumehood("sweep", "run", "ours", "--dry-run")[1]
    code, out, err = fumehood("sweep", "run", "ours", "--quiet", "--format", "json")
    assert json.loads(out)["counts"] == {"existing": 1, "gone": 1}
    assert err == ""
    _, out, _ = fumehood("sweep", "list")
    assert "1 known already, 1 gone" in out
    code, out, err = fumehood("sweep", "run", "watched")
    assert code == 0
    assert "the watch-list was polled instead" in err
    index.statuses["/rss/updates.xml"] = 500
    code, out, _ = fumehood("sweep", "run", "watched")
    assert code == 4
    assert "watched: failed (the feed /rss/updates.xml cannot be read" in out


def test_a_check_reads_the_beginning_of_each_feed(
    fumehood: Callable[..., Ran], index: SweptIndex, tmp_path: Path
) -> None:
    code, out, _ = fumehood("sweep", "check")
    assert code == 0
    assert "  reads: 2 packages at first\n" in out
    assert "note: 127.0.0.1 has no feed at /rss/updates.xml: the watch-list was polled instead" in out
    assert out.endswith("2 sweeps, all well\n")
    assert not (tmp_path / "data").exists()
    (tmp_path / "sweeps.yaml").write_text("sweeps: {fresh: {feed: {kind: new-projects}}}\n")
    code, out, _ = fumehood("sweep", "check")
    assert code == 1
    assert "  wrong: 127.0.0.1 has no feed at /rss/packages.xml (a mirror may lack it)" in out
    index.seen.clear()
    code, out, _ = fumehood("sweep", "check", "--offline")
    assert (code, index.seen) == (0, [])
    assert out.endswith("1 sweep, all well; no feed was read\n")
    index.rss("/rss/packages.xml", "https://index.example/project/one/")
    code, out, _ = fumehood("sweep", "check")
    assert code == 0
    assert "  reads: 1 package at first\n" in out


def test_what_is_wrong_is_told_in_a_line(fumehood: Callable[..., Ran], tmp_path: Path) -> None:
    code, _, err = fumehood("sweep", "run", "our")
    assert code == 2
    assert err == "fumehood: there is no sweep 'our'; did you mean 'ours'? (`fumehood sweep list`)\n"
    (tmp_path / "watch.txt").unlink()
    code, out, _ = fumehood("sweep", "check", "--offline")
    assert code == 1
    assert f"wrong: there is no {tmp_path}/watch.txt" in out
    assert "digest: to " in out
    (tmp_path / "sweeps.yaml").write_text(FILE.replace("updates", "updates, profile: other"))
    assert fumehood("sweep", "check")[0] == 2
    (tmp_path / "sweeps.yaml").write_text(FILE.replace("watch: watch.txt}", "watch: watch.txt}\n    profile: other"))
    (tmp_path / "watch.txt").write_text("one\n")
    code, out, _ = fumehood("sweep", "check")
    assert code == 1
    assert "workers offer no profile 'other' but pypi" in out
    code, _, err = fumehood("sweep", "run", "watched")
    assert code == 2
    assert "workers offer no profile 'other'" in err


def test_digests_of_spans(fumehood: Callable[..., Ran], tmp_path: Path) -> None:
    fumehood("sweep", "run", "ours")
    code, out, _ = fumehood("sweep", "digest")
    assert code == 0
    assert "1 still wait or run" in out
    assert fumehood("sweep", "digest", "ours", "--format", "html", "-o", str(tmp_path / "d.html"))[0] == 0
    assert (tmp_path / "d.html").read_text().startswith("<!doctype html>")
    code, out, _ = fumehood(
        "sweep", "digest", "--format", "json", "--since", "2026-01-01", "--until", "2026-01-02T00:00Z"
    )
    assert json.loads(out)["until"] - json.loads(out)["since"] == 86_400
    for words in (["--since", "yesterday"], ["--since", "2026-02-01", "--until", "2026-01-01"], ["nothing"]):
        code, _, err = fumehood("sweep", "digest", *words)
        assert code == 2
        assert err.count("\n") == 1


def test_a_digest_for_a_webhook(fumehood: Callable[..., Ran], tmp_path: Path) -> None:
    code, _, err = fumehood("sweep", "digest", "--webhook", "https://hooks.example/x")
    assert code == 2
    assert "not below one of the configuration's `webhooks`" in err
    (tmp_path / "secret").write_text("s" * 32)
    hooks = f"webhooks:\n- url: https://hooks.example\n  secret_file: {tmp_path}/secret\n"
    (tmp_path / "fumehood.yaml").write_text(hooks)
    config = ("--config", str(tmp_path / "fumehood.yaml"))
    code, out, err = fumehood("sweep", "digest", "--webhook", "https://hooks.example/x", *config)
    assert (code, out) == (0, "")
    assert "delivers it as " in err
    (tmp_path / "sweeps.yaml").write_text(FILE.replace("directory: digests", "webhook: https://hooks.example/x"))
    assert fumehood("sweep", "check", *config)[0] == 0
    code, out, _ = fumehood("sweep", "check")
    assert code == 1
    assert "wrong: this URL is not below" in out
    (tmp_path / "sweeps.yaml").write_text(FILE.replace("  directory: digests\n", ""))
    code, _, err = fumehood("sweep", "check")
    assert code == 2
    assert "the digest goes nowhere" in err


@pytest.fixture
def scheduled(variables: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A timer for which everything is due."""
    (tmp_path / "data").mkdir()
    engine = open_database(f"sqlite:///{tmp_path}/data/fumehood.sqlite")
    upgrade(engine)
    with writing(engine) as connection:
        for name in ("ours", ":digest"):
            row = {"name": name, "feed": "", "cursor": {}, "slot": time.time() - 7200}
            connection.execute(insert(SWEEPS), row)
    engine.dispose()
    command = [sys.executable, "-c", "from sandbox.entry import main; main()", "sweep", "schedule"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stderr=log, text=True)
    yield process
    process.kill()
    process.wait()


def test_the_timer_serves_what_is_due_and_follows_its_file(
    scheduled: subprocess.Popen[str], tmp_path: Path, index: SweptIndex
) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/data/fumehood.sqlite")

    def wait_for(there: Callable[[], object]) -> None:
        while not there():
            assert scheduled.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)

    def packages() -> set[str]:
        with engine.connect() as connection:
            return set(connection.scalars(select(SUBMISSIONS.c.package)))

    wait_for(lambda: packages() == {"pkg:pypi/one@1.0"})
    wait_for(lambda: len(list((tmp_path / "digests").glob("sweeps-*.*"))) == 3)
    assert {path.suffix for path in (tmp_path / "digests").iterdir()} == {".md", ".html", ".json"}
    # The file is wrong for a while, and what it said stands; then it is another.
    index.release("two", "1.0")
    (tmp_path / "more.txt").write_text("two\n")
    (tmp_path / "sweeps.yaml").write_text("sweeps: [")
    wait_for(lambda: "what it said before stands" in (tmp_path / "log").read_text())
    (tmp_path / "sweeps.yaml").write_text(FILE.replace("names.txt", "more.txt"))
    with writing(engine) as connection:
        connection.execute(update(SWEEPS).values(slot=time.time() - 7200))
    wait_for(lambda: packages() == {"pkg:pypi/one@1.0", "pkg:pypi/two@1.0"})
    scheduled.send_signal(signal.SIGTERM)
    assert scheduled.wait() == 0
    engine.dispose()
