"""What people do to the queue, with and without a Redis: rows come first."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from sandbox import tokens
from sandbox.cli import cli
from sandbox.commands import guarded
from sandbox.config import load_configuration
from sandbox.database import open_database, writing
from sandbox.errors import UsageError
from sandbox.health_commands import health
from sandbox.queue_commands import cancel, retry
from sandbox.service_commands import prepare
from sandbox.submissions import attempts, query, workers
from sandbox.submissions.attempts import Attempt
from sandbox.submissions.workers import WorkerRow
from sandbox.submit_commands import Wish, submit

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.config import Configuration
    from sandbox.submissions.model import Submission
    from tests.servers import RedisServer

WISH = Wish(package="pkg:pypi/thing", lane="manual", artefact="auto", profile=None, pod=None, runtime=None, force=False)


@pytest.fixture
def alone(tmp_path: Path) -> Configuration:
    """As it is on a machine where nothing was ever started."""
    return load_configuration({"HOME": str(tmp_path), "FUMEHOOD_DATA": str(tmp_path / "data")})


def _submitted(configuration: Configuration, capfd: pytest.CaptureFixture[str]) -> tuple[Submission, str]:
    """The row, and what was said."""
    assert submit(configuration, WISH, wait=False, form="text") == 0
    out, said = capfd.readouterr()
    row = query.get(open_database(configuration.database), out.strip())
    assert row
    return row, said


def test_without_any_redis_a_submission_is_committed_and_waits(
    alone: Configuration, capfd: pytest.CaptureFixture[str]
) -> None:
    row, said = _submitted(alone, capfd)
    assert row.state == "queued"
    assert said == f"{row.id} is committed; no Redis runs here yet, and it waits for one: `fumehood up` starts it\n"
    again, said = _submitted(alone, capfd)
    assert again.id == row.id
    assert said == f"submission {row.id} of the same work answers for it (queued)\n"


def test_a_redis_that_is_away_is_told_in_one_line(
    alone: Configuration, redis_server: RedisServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = {"HOME": str(tmp_path), "FUMEHOOD_DATA": str(alone.data), "FUMEHOOD_REDIS": redis_server.url}
    redis_server.stop()
    row, said = _submitted(load_configuration(environment), capfd)
    assert row.state == "queued"
    assert said == f"{row.id} is committed; Redis does not answer, and a worker queues it as soon as it does\n"


def test_without_redis_what_waits_is_cancelled_and_retried(
    alone: Configuration, capfd: pytest.CaptureFixture[str]
) -> None:
    row, _ = _submitted(alone, capfd)
    assert cancel(alone, [row.id], "not needed") == 0
    engine = open_database(alone.database)
    cancelled = query.get(engine, row.id)
    assert cancelled
    assert cancelled.state == "cancelled"
    assert cancelled.reason.startswith("cancelled by ")
    assert cancelled.reason.endswith(": not needed")
    assert retry(alone, [row.id]) == 0
    queued = query.get(engine, row.id)
    assert queued
    assert (queued.state, queued.reason) == ("queued", "")
    assert attempts.claim(engine, Attempt(submission=row.id, number=1, owner="here"), queued.changed, 30.0)


def test_all_or_none_are_cancelled_and_what_has_ended_stays(
    alone: Configuration, capfd: pytest.CaptureFixture[str]
) -> None:
    row, _ = _submitted(alone, capfd)
    with pytest.raises(UsageError, match="there is no submission 'nope'"):
        cancel(alone, [row.id, "nope"], "")
    assert query.get(open_database(alone.database), row.id) == row
    cancel(alone, [row.id], "")
    cancel(alone, [row.id], "")
    said = capfd.readouterr().err
    assert said == f"{row.id}: cancelled\n{row.id}: nothing to cancel, it is cancelled\n"


def test_a_database_that_breaks_meanwhile_is_no_bug_of_ours(
    alone: Configuration, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUMEHOOD_DATA", str(alone.data))
    with writing(prepare(alone)) as connection:
        connection.exec_driver_sql("DROP TABLE submissions")
    assert guarded(lambda: cli.main(["queue", "list"], prog_name="fumehood", standalone_mode=False)) == 4
    said = capfd.readouterr().err
    assert said.startswith("fumehood: the database does not do what it was asked for (no such table: submissions); ")


def _offered(words: list[str], typed: str) -> dict[str, str | None]:
    completed = ShellComplete(cli, {}, "fumehood", "_FUMEHOOD_COMPLETE").get_completions(words, typed)
    return {item.value: item.help for item in completed}


def test_tab_offers_what_the_service_knows(
    alone: Configuration, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUMEHOOD_DATA", str(alone.data))
    assert _offered(["queue", "show"], "") == {}
    assert not alone.data.exists()
    row, _ = _submitted(alone, capfd)
    assert _offered(["queue", "show"], row.id[:4]) == {row.id: "queued pkg:pypi/thing"}
    assert _offered(["queue", "show"], "zz") == {}
    assert row.id in _offered(["queue", "cancel"], "")
    assert _offered(["queue", "cancel", row.id], "") == {}
    assert _offered(["queue", "retry"], "") == {}
    assert _offered(["submit", "--profile"], "") == {"pypi": None}
    assert _offered(["worker", "drain"], "") == _offered(["store", "show"], "") == {}
    with writing(open_database(alone.database)) as connection:
        connection.exec_driver_sql("DROP TABLE submissions")
    assert _offered(["queue", "show"], "") == {}


def test_tab_offers_workers_and_tokens(alone: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMEHOOD_DATA", str(alone.data))
    engine = prepare(alone)
    workers.register(engine, WorkerRow(name="here-1", host="here", slots=1, started=1.0, seen=1.0, draining=False))
    tokens.create(engine, "scanner", "submit", 1.0, None)
    assert _offered(["worker", "drain"], "h") == {"here-1": "here"}
    assert _offered(["token", "revoke"], "") == {"scanner": "submit"}


def test_health_of_a_machine_where_nothing_runs_fails_and_makes_nothing(
    alone: Configuration, capfd: pytest.CaptureFixture[str]
) -> None:
    assert health(alone, "json") == 1
    told = json.loads(capfd.readouterr().out)
    assert not told["healthy"]
    assert [(check["name"], check["ok"]) for check in told["checks"]] == [
        ("database", False),
        ("redis", False),
        ("workers", False),
        ("escalations", False),
        ("evidence disk", True),
    ]
    assert not alone.data.exists()
    assert health(alone, "text") == 1
    assert capfd.readouterr().out.count("FAILS") == 4


def test_a_directory_that_nobody_may_look_into_is_told_with_what_to_do(
    alone: Configuration, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A part of the path that is a file stands for it: root, as whom CI runs, may look into every directory.
    alone.data.write_text("a file")
    monkeypatch.setenv("FUMEHOOD_DATA", str(alone.data / "below"))
    assert guarded(lambda: cli.main(["queue", "list"], prog_name="fumehood", standalone_mode=False)) == 2
    assert capfd.readouterr().err == (
        f"fumehood: {alone.data / 'below'} cannot be used: Not a directory; "
        "set FUMEHOOD_DATA, or `data:` of the configuration, to a directory of yours\n"
    )


def test_who_has_a_number_alone_can_submit(
    alone: Configuration, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    row, _ = _submitted(alone, capfd)
    assert row.submitter == "uid 54321@cli"
