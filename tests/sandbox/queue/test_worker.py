"""Workers run what is submitted, in order, and lose nothing however they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import select

from collector.store.schema import EVIDENCE, RUNS
from sandbox.queue import enqueue
from sandbox.submissions.search import attempts_of
from tests.sandbox.queue.service import kill_all, run_of

if TYPE_CHECKING:
    from tests.sandbox.queue.service import Service

pytestmark = [pytest.mark.pod, pytest.mark.usefixtures("base_image")]


def _outcomes(service: Service, identifier: str) -> list[str]:
    return [row.outcome for row in attempts_of(service.engine, identifier)]


def _gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_what_is_submitted_is_run_and_its_rows_are_written_with_the_result(service: Service) -> None:
    service.start_worker()
    done = service.fumehood("submit", str(service.wheel()), "--wait", "--format", "json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["state"], row["verdict"]) == ("done", "clean")
    assert [phase["status"] for phase in row["progress"]["phases"]] == ["completed"] * 6
    with service.engine.connect() as connection:
        runs = connection.execute(select(RUNS.c.run, RUNS.c.verdict)).all()
        evidence = connection.execute(select(EVIDENCE.c.run, EVIDENCE.c.removed)).all()
    assert [tuple(run) for run in runs] == [(row["run"], "clean")]
    assert [tuple(kept) for kept in evidence] == [(row["run"], None)]


def test_what_cannot_be_run_fails_with_the_reason_and_is_not_tried_again(embedded: Service) -> None:
    bad = embedded.directory / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"not a wheel")
    embedded.start_worker()
    done = embedded.fumehood("submit", str(bad), "--wait")
    assert done.returncode == 2
    assert done.stdout.startswith("failed: 'bad-1.0-py3-none-any.whl': it is not a whole zip")


def test_ctrl_c_ends_the_waiting_alone_and_says_so(embedded: Service) -> None:
    environment = os.environ | {"FUMEHOOD_CONFIG": str(embedded.file)}
    # Where tests run in the background, children are born deaf to Ctrl-C.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hears}; from sandbox.entry import main; main()"
    command = [sys.executable, "-P", "-c", code, "submit", str(embedded.wheel()), "--wait"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("no worker: start `fumehood worker`")
        identifier = waiting.stderr.readline().removesuffix(": queued\n")
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
    assert waiting.returncode == 130
    assert f"`fumehood queue show {identifier}`" in said
    assert "nothing is left running" not in said
    assert embedded.row(identifier).state == "queued"


def test_a_fault_of_the_machine_is_tried_again_and_then_dead_and_can_be_retried(embedded: Service) -> None:
    embedded.start_worker()
    identifier = embedded.submit(profile="elsewhere")
    row = embedded.ended(identifier)
    assert (row.state, row.attempt) == ("dead", 3)
    assert "given up after 3 attempts" in row.reason
    assert "no profile 'elsewhere'" in row.reason
    assert _outcomes(embedded, identifier) == ["lost"] * 3
    starts = [attempt.started for attempt in attempts_of(embedded.engine, identifier)]
    assert starts[1] - starts[0] >= 1
    assert starts[2] - starts[1] >= 2
    assert embedded.fumehood("queue", "list", "--state", "dead").stdout.startswith(identifier)
    assert embedded.fumehood("queue", "retry", identifier).returncode == 0
    embedded.wait(lambda: embedded.row(identifier).attempt > 3, "another attempt")


def test_a_result_that_the_database_refuses_is_not_offered_again_and_again(embedded: Service) -> None:
    with embedded.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refusing BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no more runs'); END"
        )
    identifier = embedded.submit()
    embedded.start_worker()
    row = embedded.ended(identifier)
    assert (row.state, row.attempt) == ("dead", 3)
    assert row.reason.endswith("because the database does not take the result: no more runs")


def test_a_killed_run_is_tried_again_at_once(embedded: Service) -> None:
    worker = embedded.start_worker()
    identifier = embedded.submit(waits=True)
    enqueue(embedded.redis, [embedded.row(identifier)])
    embedded.running(identifier, "import")
    slot, run = run_of(worker)
    pod = [process.pid for process in run.children(recursive=True)]
    assert pod
    run.kill()
    embedded.wait(lambda: embedded.row(identifier).attempt == 2, "a second attempt")
    embedded.wait(lambda: _gone(pod), "the end of the killed run's pod")
    assert slot.is_running()
    assert attempts_of(embedded.engine, identifier)[0].reason == "its process ended (signal 9)"


def test_a_killed_slot_takes_its_run_with_it_and_is_started_again(embedded: Service) -> None:
    worker = embedded.start_worker()
    identifier = embedded.submit(waits=True)
    enqueue(embedded.redis, [embedded.row(identifier)])
    embedded.running(identifier, "import")
    slot, run = run_of(worker)
    pod = [process.pid for process in run.children(recursive=True)]
    assert pod
    slot.kill()
    embedded.wait(lambda: _gone([run.pid, *pod]), "the end of the run")
    embedded.wait(lambda: embedded.row(identifier).attempt == 2, "a second attempt")
    assert _outcomes(embedded, identifier)[0] == "lost"
    assert run_of(worker)[0].pid != slot.pid


def test_a_killed_supervisor_leaves_nothing_behind_and_its_run_is_handed_back(embedded: Service) -> None:
    worker = embedded.start_worker()
    identifier = embedded.submit(waits=True)
    enqueue(embedded.redis, [embedded.row(identifier)])
    embedded.running(identifier, "import")
    family = [process.pid for process in psutil.Process(worker.pid).children(recursive=True)]
    worker.kill()
    embedded.wait(lambda: _gone(family), "the end of everything that the worker had started")
    embedded.wait(lambda: embedded.row(identifier).state == "queued", "the submission's return")
    assert _outcomes(embedded, identifier) == ["handed-back"]


def test_one_host_dies_and_another_finishes_its_work(service: Service) -> None:
    dying = service.start_worker()
    first = service.submit()
    enqueue(service.redis, [service.row(first)])
    owner = service.running(first).owner
    kill_all(dying)
    service.start_worker()
    row = service.ended(first)
    assert (row.state, row.progress["step"]) == ("done", "")
    rows = attempts_of(service.engine, first)
    assert [attempt.outcome for attempt in rows] == ["lost", "done"]
    assert rows[0].owner == owner != rows[1].owner


def test_the_first_signal_lets_the_run_finish(embedded: Service) -> None:
    worker = embedded.start_worker()
    identifier = embedded.submit()
    waiting = embedded.submit()
    enqueue(embedded.redis, [embedded.row(identifier), embedded.row(waiting)])
    embedded.running(identifier)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert embedded.row(identifier).state == "done"
    assert embedded.row(waiting).state == "queued"


def test_the_second_signal_hands_the_run_back(embedded: Service) -> None:
    worker = embedded.start_worker()
    identifier = embedded.submit(waits=True)
    enqueue(embedded.redis, [embedded.row(identifier)])
    embedded.running(identifier, "import")
    family = [process.pid for process in psutil.Process(worker.pid).children(recursive=True)]
    os.killpg(worker.pid, signal.SIGINT)
    embedded.wait(lambda: "finished first" in embedded.log(), "the first signal's effect")
    os.killpg(worker.pid, signal.SIGINT)
    assert worker.wait() == 0
    row = embedded.row(identifier)
    assert (row.state, row.budget - row.attempt) == ("queued", 3)
    assert _outcomes(embedded, identifier) == ["handed-back"]
    assert _gone(family)


def test_a_drained_worker_ends(embedded: Service) -> None:
    worker = embedded.start_worker()
    embedded.wait(lambda: embedded.fumehood("worker", "list").stdout, "the worker's row")
    name = embedded.fumehood("worker", "list").stdout.split()[0]
    assert embedded.fumehood("worker", "drain", name).returncode == 0
    assert worker.wait() == 0
    assert embedded.fumehood("worker", "list").stdout == ""


def test_a_running_submission_is_cancelled(embedded: Service) -> None:
    embedded.start_worker()
    identifier = embedded.submit(waits=True)
    enqueue(embedded.redis, [embedded.row(identifier)])
    embedded.running(identifier, "import")
    assert embedded.fumehood("queue", "cancel", identifier, "--reason", "not needed").returncode == 0
    row = embedded.ended(identifier)
    assert (row.state, row.run) == ("cancelled", None)
    assert row.reason.startswith("cancelled by ")
    assert row.reason.endswith(": not needed")
    assert [it.reason for it in attempts_of(embedded.engine, identifier)] == ["cancelled while it ran"]
    assert list((embedded.configuration.data / "evidence").glob("*.partial")) == []


def test_an_escalation_behind_many_sweeps_starts_next(embedded: Service) -> None:
    first = embedded.submit("sweep")
    sweeps = [embedded.submit("sweep") for _ in range(500)]
    escalation = embedded.submit("escalation")
    enqueue(embedded.redis, [embedded.row(identifier) for identifier in (first, *sweeps, escalation)])
    embedded.start_worker()
    embedded.wait(lambda: embedded.row(escalation).state != "queued", "the escalation's begin")
    begun = [identifier for identifier in (first, *sweeps) if embedded.row(identifier).state != "queued"]
    assert begun == []


def test_a_foreign_job_is_refused_and_counted_and_the_worker_goes_on(embedded: Service) -> None:
    witness = embedded.directory / "witness"
    foreign = Queue("fumehood:escalation", connection=embedded.redis, serializer=JSONSerializer)
    foreign.enqueue("os.mkdir", str(witness))
    Queue("fumehood:manual", connection=embedded.redis).enqueue(os.mkdir, str(witness))
    embedded.redis.rpush("rq:queue:fumehood:manual", b"\xff\xfe")
    identifier = embedded.submit()
    enqueue(embedded.redis, [embedded.row(identifier)])
    embedded.start_worker()
    assert embedded.ended(identifier).state == "done"
    assert not witness.exists()
    assert embedded.log().count("a job that is none of ours was refused") == 2


def test_rows_that_redis_forgot_are_queued_again(embedded: Service) -> None:
    identifier = embedded.submit()
    embedded.start_worker()
    assert embedded.ended(identifier).state == "done"


def test_keys_of_another_type_in_place_of_ours_are_removed(embedded: Service) -> None:
    for key in ("rq:queue:fumehood:escalation", "rq:workers", "rq:wip:fumehood:manual", "rq:workers:fumehood:manual"):
        embedded.redis.set(key, "nonsense")
    embedded.start_worker()
    assert embedded.ended(embedded.submit()).state == "done"
    assert embedded.redis.type("rq:workers") == b"set"


def test_a_paused_lane_waits(embedded: Service) -> None:
    assert embedded.fumehood("queue", "pause", "sweep", "--reason", "index is down").returncode == 0
    swept, manual = embedded.submit("sweep"), embedded.submit()
    enqueue(embedded.redis, [embedded.row(swept), embedded.row(manual)])
    embedded.start_worker()
    embedded.ended(manual)
    assert embedded.row(swept).state == "queued"
    assert "index is down" in embedded.fumehood("queue", "status").stdout
    embedded.fumehood("queue", "resume", "sweep")
    assert embedded.ended(swept).state == "done"


def test_an_upload_that_came_to_another_host_is_fetched(embedded: Service) -> None:
    submitted = embedded.fumehood("submit", str(embedded.wheel()))
    assert submitted.returncode == 0, submitted.stderr
    shutil.rmtree(embedded.configuration.uploads)
    embedded.start_worker()
    assert embedded.ended(submitted.stdout.strip()).state == "done"
