"""What people do to the queue, with and without a Redis: rows come first."""

from __future__ import annotations

import hashlib
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
from sandbox.evidence import open_evidence
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


def _fumehood(*arguments: str) -> int:
    """What the shell gets."""
    return guarded(lambda: cli.main(list(arguments), prog_name="fumehood", standalone_mode=False))


@pytest.fixture
def commanded(alone: Configuration, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """The configuration of every command that is given."""
    monkeypatch.setenv("FUMEHOOD_DATA", str(alone.data))
    return alone


def test_a_rerun_is_linked_to_its_origin_and_differs_as_asked(
    commanded: Configuration, capfd: pytest.CaptureFixture[str]
) -> None:
    origin, _ = _submitted(commanded, capfd)
    changes = ("--artefact", "sdist", "--pod", "docker", "--runtime", "runsc", "--lane", "escalation")
    assert _fumehood("queue", "rerun", origin.id, *changes, "--format", "json") == 0
    out, said = capfd.readouterr()
    made = json.loads(out)
    assert said == f"{made['id']} is committed; no Redis runs here yet, and it waits for one: `fumehood up` starts it\n"
    kept = ("package", "profile", "origin", "artefact", "pod", "runtime", "lane", "state")
    assert [made[name] for name in kept] == [
        origin.package,
        origin.profile,
        origin.id,
        "sdist",
        "docker",
        "runsc",
        "escalation",
        "queued",
    ]
    # What is not said stays as it was there; by itself it is run again, and only with --no-force answered.
    assert _fumehood("queue", "rerun", made["id"], "--format", "json") == 0
    same = json.loads(capfd.readouterr().out)
    assert [same[name] for name in ("origin", "artefact", "pod", "runtime", "lane")] == [
        made["id"],
        "sdist",
        "docker",
        "runsc",
        "manual",
    ]
    assert _fumehood("queue", "rerun", origin.id, "--no-force") == 0
    assert capfd.readouterr().out == f"{origin.id}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "slow"), "the configuration offers no profile 'slow'; choose one of pypi"),
        (("--runtime", "runsc"), "--runtime is for --pod docker; the embedded pod has none"),
    ],
)
def test_a_rerun_that_cannot_be_is_refused(
    commanded: Configuration, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    row, _ = _submitted(commanded, capfd)
    assert _fumehood("queue", "rerun", row.id, *arguments) == 2
    assert capfd.readouterr() == ("", f"fumehood: {said}\n")
    assert _fumehood("queue", "rerun", "nope") == 2
    assert capfd.readouterr().err.startswith("fumehood: there is no submission 'nope'; ")


@pytest.mark.usefixtures("commanded")
def test_what_was_uploaded_is_not_run_again_as_what_it_is_not(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"looked into only when it is run")
    assert _fumehood("submit", str(wheel)) == 0
    origin = capfd.readouterr().out.strip()
    refusal = f"fumehood: '{wheel.name}' is a wheel, not an sdist; leave the option `artefact` out for a file\n"
    assert _fumehood("queue", "rerun", origin, "--artefact", "sdist") == 2
    assert capfd.readouterr() == ("", refusal)
    assert _fumehood("submit", str(wheel), "--artefact", "sdist") == 2
    assert capfd.readouterr() == ("", refusal)
    assert _fumehood("queue", "rerun", origin, "--artefact", "wheel", "--format", "json") == 0
    made = json.loads(capfd.readouterr().out)
    assert (made["package"], made["artefact"], made["origin"]) == (wheel.name, "wheel", origin)
    assert made["upload"] == hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_what_was_uploaded_and_is_not_kept_any_more_is_not_run_again(
    commanded: Configuration, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"looked into only when it is run")
    assert _fumehood("submit", str(wheel)) == 0
    identifier = capfd.readouterr().out.strip()
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert _fumehood("queue", "cancel", identifier) == 0
    open_evidence(commanded.evidence).drop_upload(sha256)
    capfd.readouterr()
    for command in ("rerun", "retry"):
        assert _fumehood("queue", command, identifier) == 2
        said = f"fumehood: the file of the upload {sha256} is not kept any more; submit the file again\n"
        assert capfd.readouterr() == ("", said)
    assert _fumehood("submit", str(wheel)) == 0
    assert _fumehood("queue", "rerun", identifier) == 0


def test_a_full_lane_has_an_exit_code_of_its_own(
    commanded: Configuration, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUMEHOOD_QUEUE_MANUALS", "1")
    row, _ = _submitted(commanded, capfd)
    full = "fumehood: 1 submissions wait in the lane 'manual', which is full; try again later, or add workers\n"
    assert _fumehood("submit", "pkg:pypi/other") == 5
    assert capfd.readouterr() == ("", full)
    assert _fumehood("queue", "rerun", row.id) == 5
    assert capfd.readouterr() == ("", full)
    # Neither the same work nor another lane needs room in it.
    assert _fumehood("submit", "pkg:pypi/thing") == 0
    assert _fumehood("submit", "pkg:pypi/other", "--lane", "escalation") == 0


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
    assert row.id in _offered(["queue", "rerun"], "")
    assert _offered(["queue", "rerun", row.id, "--profile"], "p") == {"pypi": None}
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
