"""A submission is in one state, and one result counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import select

from sandbox.database import writing
from sandbox.database.schema import ATTEMPTS
from sandbox.errors import KeyReusedError, LaneFullError
from sandbox.submissions import attempts, control, keys
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.query import depths, get, same_artefact
from sandbox.submissions.search import attempts_of
from sandbox.submissions.submit import submit

if TYPE_CHECKING:
    from sqlalchemy import Engine

REQUEST = Request(package="pkg:pypi/thing@1.0", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64)
NOW = 1_800_000_000.0
LEASE = 30.0


def _claimed(engine: Engine, owner: str = "here", number: int = 1) -> Attempt:
    identifier = submit(engine, REQUEST, NOW).submission.id
    attempt = Attempt(submission=identifier, number=number, owner=owner)
    assert attempts.claim(engine, attempt, NOW, LEASE)
    return attempt


def _finish(engine: Engine, attempt: Attempt, result: Result) -> bool:
    with writing(engine) as connection:
        return attempts.finish(connection, attempt, result, NOW + 9)


def test_the_same_work_is_done_once(engine: Engine) -> None:
    first, second = submit(engine, REQUEST, NOW), submit(engine, REQUEST, NOW + 1)
    assert first.created
    assert not second.created
    assert second.submission.id == first.submission.id


def test_other_work_is_other_work(engine: Engine) -> None:
    submit(engine, REQUEST, NOW)
    assert submit(engine, msgspec.structs.replace(REQUEST, rules_sha256="c" * 64), NOW).created
    assert submit(engine, msgspec.structs.replace(REQUEST, artefact="sdist"), NOW).created


def test_a_more_urgent_lane_lifts_what_waits(engine: Engine) -> None:
    swept = submit(engine, msgspec.structs.replace(REQUEST, lane="sweep"), NOW)
    lifted = submit(engine, msgspec.structs.replace(REQUEST, lane="escalation"), NOW + 1)
    assert lifted.lifted
    assert lifted.submission.id == swept.submission.id
    assert depths(engine)["escalation"].queued == 1
    assert not submit(engine, msgspec.structs.replace(REQUEST, lane="manual"), NOW + 2).lifted


def test_force_runs_again_and_then_answers_for_the_work(engine: Engine) -> None:
    done = Result(state="done", run="1", verdict="clean")
    first = _claimed(engine)
    assert _finish(engine, first, done)
    forced = submit(engine, msgspec.structs.replace(REQUEST, force=True), NOW + 10)
    assert forced.created
    assert submit(engine, REQUEST, NOW + 11).submission.id == first.submission
    again = Attempt(submission=forced.submission.id, number=1, owner="here")
    attempts.claim(engine, again, NOW + 12, LEASE)
    assert _finish(engine, again, done)
    assert submit(engine, REQUEST, NOW + 13).submission.id == forced.submission.id


def test_what_turns_out_to_be_the_same_artefact_was_done_before(engine: Engine) -> None:
    first = _claimed(engine)
    assert _finish(engine, first, Result(state="done", run="1", sha256="e" * 64, verdict="clean"))
    newest = submit(engine, msgspec.structs.replace(REQUEST, package="pkg:pypi/thing"), NOW + 20).submission
    forced = submit(engine, msgspec.structs.replace(REQUEST, force=True), NOW + 20).submission
    docker = submit(engine, msgspec.structs.replace(REQUEST, pod="docker"), NOW + 20).submission
    same = ("e" * 64, REQUEST.profile_sha256, REQUEST.rules_sha256)
    found = same_artefact(engine, newest, *same)
    assert found
    assert (found.id, found.run) == (first.submission, "1")
    assert same_artefact(engine, forced, *same) is None
    assert same_artefact(engine, docker, *same) is None
    assert same_artefact(engine, newest, "f" * 64, *same[1:]) is None
    assert same_artefact(engine, newest, *same[:2], "c" * 64) is None


def test_a_repeated_idempotency_key_gives_the_same_answer(engine: Engine) -> None:
    keyed = msgspec.structs.replace(REQUEST, submitter="scanner", idempotency_key="k1", force=True)
    first = submit(engine, keyed, NOW)
    assert submit(engine, keyed, NOW + 1).submission.id == first.submission.id
    assert submit(engine, msgspec.structs.replace(keyed, submitter="another"), NOW + 1).created


def test_a_key_stands_for_its_request_whoever_made_the_submission(engine: Engine) -> None:
    other = msgspec.structs.replace(REQUEST, package="pkg:pypi/other")
    first = submit(engine, REQUEST, NOW).submission
    keyed = msgspec.structs.replace(REQUEST, submitter="scanner", idempotency_key="k1")
    deduplicated = submit(engine, keyed, NOW + 1)
    assert (deduplicated.submission.id, deduplicated.created, deduplicated.ours) == (first.id, False, False)
    for changed in ({"package": "pkg:pypi/other"}, {"force": True}, {"lane": "sweep"}, {"webhook": "https://x.test/"}):
        with pytest.raises(KeyReusedError, match="choose a new key"):
            submit(engine, msgspec.structs.replace(keyed, **changed), NOW + 2)
    # Rules and profiles may be others by the time that somebody asks again, and what answered may have failed.
    control.cancel(engine, first.id, "", NOW + 3)
    renewed = msgspec.structs.replace(keyed, rules_sha256="c" * 64, profile_sha256="d" * 64)
    assert submit(engine, renewed, NOW + 4).submission.id == first.id
    made = msgspec.structs.replace(other, submitter="scanner", idempotency_key="k2")
    assert [submit(engine, made, NOW + 5).ours, submit(engine, made, NOW + 6).ours] == [True, True]


def test_keys_are_forgotten_in_time(engine: Engine) -> None:
    keyed = msgspec.structs.replace(REQUEST, submitter="scanner", idempotency_key="k1", force=True)
    first = submit(engine, keyed, NOW).submission.id
    assert submit(engine, keyed, NOW + keys.KEPT_S).submission.id == first
    late = NOW + keys.KEPT_S + 1
    second = submit(engine, keyed, late)
    assert second.created
    assert submit(engine, keyed, late + 1).submission.id == second.submission.id
    assert keys.forget(engine, late) == 0
    assert keys.forget(engine, late + keys.KEPT_S + 1) == 1


def test_one_of_many_with_the_same_key_makes_the_submission(engine: Engine) -> None:
    keyed = msgspec.structs.replace(REQUEST, submitter="scanner", idempotency_key="k1", force=True)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: submit(engine, keyed, NOW), range(8)))
    assert sum(it.created for it in made) == 1
    assert len({it.submission.id for it in made}) == 1


def test_a_full_lane_refuses(engine: Engine) -> None:
    submit(engine, REQUEST, NOW, {"manual": 1})
    with pytest.raises(LaneFullError, match="1 submissions wait in the lane 'manual'"):
        submit(engine, msgspec.structs.replace(REQUEST, package="pkg:pypi/other"), NOW, {"manual": 1})


def test_one_of_many_claims_wins(engine: Engine) -> None:
    identifier = submit(engine, REQUEST, NOW).submission.id
    rivals = [Attempt(submission=identifier, number=1, owner=f"host-{number}") for number in range(8)]
    with ThreadPoolExecutor(len(rivals)) as pool:
        won = [made for made in pool.map(lambda rival: attempts.claim(engine, rival, NOW, LEASE), rivals) if made]
    assert len(won) == 1


def test_the_result_of_a_lost_attempt_does_not_count(engine: Engine) -> None:
    slow = _claimed(engine, "slow")
    [lost] = attempts.lose_expired(engine, NOW + LEASE + 1)
    assert (lost.owner, lost.submission.state) == ("slow", "queued")
    quick = Attempt(submission=slow.submission, number=2, owner="quick")
    assert attempts.claim(engine, quick, NOW + 40, LEASE)
    assert not _finish(engine, slow, Result(state="done", run="1", verdict="clean"))
    assert attempts.beat(engine, slow, NOW + 41, LEASE, {}) is None
    assert _finish(engine, quick, Result(state="done", run="2", verdict="malicious"))
    row = get(engine, slow.submission)
    assert row
    assert (row.state, row.run, row.verdict) == ("done", "2", "malicious")
    with engine.connect() as connection:
        ended = connection.execute(select(ATTEMPTS.c.owner, ATTEMPTS.c.outcome).order_by(ATTEMPTS.c.attempt)).all()
    assert [tuple(row) for row in ended] == [("slow", "late"), ("quick", "done")]


def test_a_budget_ends_in_dead_with_the_reason(engine: Engine) -> None:
    identifier = submit(engine, REQUEST, NOW).submission.id
    for number in range(1, REQUEST.budget + 1):
        attempt = Attempt(submission=identifier, number=number, owner="here")
        assert attempts.claim(engine, attempt, NOW, LEASE)
        attempts.lose(engine, attempt, "the tracer crashed", NOW)
    row = get(engine, identifier)
    assert row
    assert row.state == "dead"
    assert row.reason == "given up after 3 attempts, the last one because the tracer crashed"
    retried = control.retry(engine, identifier, 1, NOW)
    assert retried
    assert (retried.state, retried.budget) == ("queued", 4)


def test_a_run_that_is_handed_back_costs_nothing(engine: Engine) -> None:
    attempt = _claimed(engine)
    assert attempts.hand_back(engine, attempt, "the worker stops", NOW)
    row = get(engine, attempt.submission)
    assert row
    assert (row.state, row.budget - row.attempt) == ("queued", REQUEST.budget)


def test_what_waits_is_cancelled_at_once_and_what_runs_at_its_next_heartbeat(engine: Engine) -> None:
    waiting = submit(engine, REQUEST, NOW).submission.id
    cancelled = control.cancel(engine, waiting, "not needed", NOW)
    assert cancelled
    assert cancelled.state == "cancelled"
    running = _claimed(engine)
    assert attempts.beat(engine, running, NOW, LEASE, {}) is False
    control.cancel(engine, running.submission, "not needed", NOW)
    assert attempts.beat(engine, running, NOW, LEASE, {}) is True


def test_what_is_handed_back_after_its_end_was_asked_for_has_ended(engine: Engine) -> None:
    attempt = _claimed(engine)
    control.cancel(engine, attempt.submission, "not needed", NOW)
    assert attempts.hand_back(engine, attempt, "the worker stops", NOW)
    row = get(engine, attempt.submission)
    assert row
    assert (row.state, row.owner, row.reason) == ("cancelled", "", "not needed")
    assert not attempts.hand_back(engine, attempt, "the worker stops", NOW)


def test_who_cancelled_first_and_why_stays_with_what_ran(engine: Engine) -> None:
    attempt = _claimed(engine)
    control.cancel(engine, attempt.submission, "cancelled by ann: not needed", NOW)
    control.cancel(engine, attempt.submission, "cancelled by bob", NOW + 1)
    assert _finish(engine, attempt, Result(state="cancelled", reason="cancelled while it ran"))
    control.cancel(engine, attempt.submission, "cancelled by bob", NOW + 2)
    row = get(engine, attempt.submission)
    assert row
    assert (row.state, row.reason) == ("cancelled", "cancelled by ann: not needed")
    assert [it.reason for it in attempts_of(engine, attempt.submission)] == ["cancelled while it ran"]


def test_what_is_about_to_be_cancelled_answers_for_nobody_else(engine: Engine) -> None:
    attempt = _claimed(engine)
    control.cancel(engine, attempt.submission, "not needed", NOW)
    wanted = submit(engine, msgspec.structs.replace(REQUEST, lane="escalation"), NOW + 1)
    assert wanted.created
    assert _finish(engine, attempt, Result(state="cancelled"))
    assert submit(engine, REQUEST, NOW + 2).submission.id == wanted.submission.id
