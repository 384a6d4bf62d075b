"""Lists, batches, and what people do to submissions."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from sandbox.database import writing
from sandbox.database.schema import DELIVERIES
from sandbox.submissions import attempts, query, workers
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.api.conftest import Offered


pytestmark = ON_BOTH


def test_pages_hold_everything_once_however_many_come_in_between(api: Offered) -> None:
    there = [api.submitted().id for _ in range(7)]
    seen = []
    cursor: str | None = None
    with api.client("analyst") as client:
        while True:
            page = client.get("/submissions", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
            api.submitted()
    assert sorted(seen) == sorted(there)
    assert len(seen) == 7


def test_a_list_is_filtered(api: Offered) -> None:
    one = api.submitted(package="pkg:pypi/thing@1.0", lane="sweep", submitter="a")
    two = api.submitted(package="pkg:pypi/thing@2.0", lane="escalation", submitter="b", upload="d" * 64)
    three = api.submitted(package="pkg:pypi/things", submitter="b")
    api.finish(api.run(two.id), state="done", run="r", sha256="c" * 64, verdict="malicious")

    with api.client("analyst") as client:

        def found(**wanted: str) -> set[str]:
            answer = client.get("/submissions", params=wanted)
            assert answer.status_code == 200, answer.text
            return {item["id"] for item in answer.json()["items"]}

        assert found() == {one.id, two.id, three.id}
        assert found(package="pkg:pypi/thing") == {one.id, two.id}
        assert found(package="pkg:pypi/thing@1.0") == {one.id}
        assert found(package="pkg:pypi/thin_") == set()
        assert found(state="done") == found(verdict="malicious") == found(lane="escalation") == {two.id}
        assert found(sha256="c" * 64) == found(sha256="d" * 64) == {two.id}
        assert found(submitter="b", state="queued") == {three.id}
        assert found(since="2020-01-01T00:00:00Z", until="2100-01-01T00:00:00+02:00") == {one.id, two.id, three.id}
        assert found(until="2020-01-01T00:00:00Z") == set()
        for wrong in ({"state": "lost"}, {"limit": "0"}, {"limit": "501"}, {"since": "yesterday"}, {"order": "up"}):
            assert client.get("/submissions", params=wrong).status_code == 422


def test_a_cursor_of_somebody_else_is_a_problem(api: Offered) -> None:
    texts = [
        "",
        "x",
        "!",
        "nan:01",
        "inf:01",
        "1:'; --",
        "1.5",
        "1:" + "a" * 99,
        "1e309:a",
        "-1:a",
        "\xff\xfe",
        "1\n:a",
    ]
    statuses = {}
    with api.client("analyst") as client:
        for text in texts:
            for cursor in (text, base64.urlsafe_b64encode(text.encode("latin-1")).decode()):
                statuses[cursor] = client.get("/submissions", params={"cursor": cursor}).status_code
    assert set(statuses.values()) <= {400, 422}, statuses


def test_each_of_a_batch_stands_for_itself(api: Offered) -> None:
    wanted = [{"purl": "pkg:pypi/one"}, {"purl": "pkg:npm/two"}, {"purl": "pkg:pypi/three"}, {"purl": "pkg:pypi/one"}]
    with api.client("submit") as client:
        answer = client.post("/submissions/batch", json={"submissions": wanted}, headers={"Idempotency-Key": "b"})
        items = answer.json()["items"]
        assert [item["submission"] and item["submission"]["package"] for item in items] == [
            "pkg:pypi/one",
            None,
            "pkg:pypi/three",
            "pkg:pypi/one",
        ]
        assert items[1]["problem"]["status"] == 422
        assert items[3]["submission"]["id"] == items[0]["submission"]["id"]
        again = client.post("/submissions/batch", json={"submissions": wanted}, headers={"Idempotency-Key": "b"})
        assert [it["submission"] and it["submission"]["id"] for it in again.json()["items"]] == [
            it["submission"] and it["submission"]["id"] for it in items
        ]
        assert client.post("/submissions/batch", json={"submissions": []}).status_code == 422
        assert client.post("/submissions/batch", json={"submissions": wanted[:1] * 501}).status_code == 422


def test_a_submitter_cancels_their_own_and_an_analyst_anybodys(api: Offered) -> None:
    mine, other = api.submitted(submitter="some-submit").id, api.submitted(submitter="another").id
    with api.client("submit") as client:
        assert client.post(f"/submissions/{other}/cancel").status_code == 403
        done = client.post(f"/submissions/{mine}/cancel", json={"reason": "a mistake"})
        assert done.status_code == 200
        assert (done.json()["state"], done.json()["reason"]) == ("cancelled", "cancelled by some-submit: a mistake")
        assert client.post(f"/submissions/{mine}/cancel", json={"reason": "\x1b[31m"}).status_code == 422
    with api.client("analyst") as client:
        assert client.post(f"/submissions/{other}/cancel").json()["state"] == "cancelled"


def test_what_runs_is_asked_to_end(api: Offered) -> None:
    submission = api.submitted().id
    attempt = api.run(submission)
    with api.client("analyst") as client:
        assert client.post(f"/submissions/{submission}/cancel").json()["state"] == "running"
    assert attempts.beat(api.service.engine, attempt, api.service.clock(), 30, {}) is True


def test_only_what_ended_without_a_result_is_retried(api: Offered) -> None:
    submission = api.submitted(budget=1).id
    with api.client("analyst") as client:
        assert client.post(f"/submissions/{submission}/retry").status_code == 409
        attempts.lose(api.service.engine, api.run(submission), "the tracer crashed", api.service.clock())
        retried = client.post(f"/submissions/{submission}/retry", json={"attempts": 2})
        assert (retried.json()["state"], retried.json()["budget"]) == ("queued", 3)
        [first] = client.get(f"/submissions/{submission}/attempts").json()
        assert (first["outcome"], first["reason"]) == ("lost", "the tracer crashed")


def test_a_rerun_is_linked_to_its_origin_and_differs_as_asked(api: Offered, tmp_path: Path) -> None:
    (tmp_path / "a-1.tar.gz").write_bytes(b"a")
    api.service.evidence.keep_upload(tmp_path / "a-1.tar.gz", "d" * 64)
    origin = api.submitted(artefact="auto", pod="docker", runtime="runsc", upload="d" * 64, package="a-1.tar.gz")
    with api.client("analyst") as client:
        answer = client.post(f"/submissions/{origin.id}/rerun", json={"artefact": "sdist", "pod": "bubblewrap"})
        assert answer.status_code == 201
        made = answer.json()
        assert (made["origin"], made["artefact"], made["pod"], made["runtime"]) == (
            origin.id,
            "sdist",
            "bubblewrap",
            "",
        )
        assert (made["upload"], made["package"]) == ("d" * 64, "a-1.tar.gz")
        [listed] = client.get("/submissions", params={"origin": origin.id}).json()["items"]
        assert listed["id"] == made["id"]
        same = client.post(f"/submissions/{origin.id}/rerun", json={}).json()
        row = query.get(api.service.engine, same["id"])
        assert row
        assert (row.pod, row.runtime, row.artefact) == ("docker", "runsc", "auto")
        for wrong in ({"profile": "other"}, {"pod": "bubblewrap", "runtime": "runsc"}, {"pod": "podman"}):
            assert client.post(f"/submissions/{origin.id}/rerun", json=wrong).status_code == 422


def test_what_was_uploaded_and_is_not_kept_any_more_is_not_run_again(api: Offered) -> None:
    done, dead = (api.submitted(upload="d" * 64, package="a-1.tar.gz") for _ in range(2))
    attempts.lose(api.service.engine, api.run(dead.id), "the tracer crashed", api.service.clock())
    with api.client("analyst") as client:
        client.post(f"/submissions/{dead.id}/cancel")
        for request in (f"{done.id}/rerun", f"{dead.id}/retry"):
            answer = client.post(f"/submissions/{request}", json={})
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:fumehood:problem:upload-removed")
            assert answer.json()["detail"].endswith("is not kept any more; submit the file again")


@pytest.mark.parametrize(("name", "kind"), [("a-1-py3-none-any.whl", "a wheel"), ("a-1.tar.gz", "an sdist")])
def test_what_was_uploaded_is_not_run_again_as_what_it_is_not(api: Offered, name: str, kind: str) -> None:
    origin = api.submitted(upload="d" * 64, package=name)
    other, called = ("sdist", "an sdist") if kind == "a wheel" else ("wheel", "a wheel")
    with api.client("analyst") as client:
        answer = client.post(f"/submissions/{origin.id}/rerun", json={"artefact": other})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        problem = answer.json()
        assert problem["type"] == "urn:fumehood:problem:artefact"
        assert problem["detail"] == f"'{name}' is {kind}, not {called}; leave the option `artefact` out for a file"
        assert client.get("/submissions", params={"origin": origin.id}).json()["items"] == []


def test_a_lane_is_paused_and_resumed(api: Offered) -> None:
    api.submitted(lane="sweep")
    with api.client("admin") as client:
        lanes = {
            it["lane"]: it for it in client.post("/lanes/sweep/pause", json={"reason": "the index is slow"}).json()
        }
        assert lanes["sweep"]["paused"]
        assert lanes["sweep"]["reason"] == "paused by some-admin: the index is slow"
        assert (lanes["sweep"]["queued"], lanes["manual"]["queued"]) == (1, 0)
        assert lanes["sweep"]["oldest"]
        assert not lanes["escalation"]["paused"]
        assert [it["paused"] for it in client.post("/lanes/sweep/resume").json()] == [False] * 3
        assert client.post("/lanes/fast/pause").status_code == 422


def test_a_worker_is_seen_and_drained(api: Offered) -> None:
    now = api.service.clock()
    row = workers.WorkerRow(name="host-1.42", host="host-1", slots=2, started=now, seen=now, draining=False)
    workers.register(api.service.engine, row)
    with api.client("admin") as client:
        assert client.post("/workers/host-1.42/drain").status_code == 202
        [seen] = client.get("/workers").json()
        assert (seen["name"], seen["slots"], seen["draining"]) == ("host-1.42", 2, True)
        assert client.post("/workers/another/drain").status_code == 404
    assert workers.seen(api.service.engine, row, now + 1) is True


def test_deliveries_are_seen_and_those_given_up_are_tried_again(api: Offered) -> None:
    submission = api.submitted(webhook="https://soar.example/hooks").id
    with writing(api.service.engine) as connection:
        failed = {"state": "failed", "attempts": 10, "reason": "the answer was 500"}
        connection.execute(update(DELIVERIES).values(failed))
    with api.client("admin") as client:
        [delivery] = client.get("/deliveries", params={"state": "failed", "submission": submission}).json()["items"]
        assert (delivery["reason"], delivery["attempts"]) == ("the answer was 500", 10)
        assert client.get("/deliveries", params={"state": "delivered"}).json()["items"] == []
        again = client.post(f"/deliveries/{delivery['id']}/retry").json()
        assert (again["state"], again["attempts"]) == ("pending", 0)
        assert client.post(f"/deliveries/{submission}/retry").status_code == 404
