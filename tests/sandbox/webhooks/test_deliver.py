"""The end of a submission is told to a receiver on loopback, signed, until it is taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.server
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import select, update

from sandbox.config import WebhookReceiver
from sandbox.database import writing
from sandbox.database.schema import DELIVERIES
from sandbox.submissions import attempts, control
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from sandbox.sweeps.digest.gather import gather
from sandbox.sweeps.digest.publish import tell
from sandbox.webhooks import deliveries
from sandbox.webhooks.deliver import TRIES, Deliverer, wait_after
from sandbox.webhooks.receivers import load_receivers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from sandbox.webhooks.receivers import Receiver

SECRET = "a secret of more than sixteen bytes"  # noqa: S105 - of these tests alone
NOW = 1_800_000_000.0


class Hook(http.server.ThreadingHTTPServer):
    """Remembers what it was told; answers as `answers` says, in order, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = [204]
        self.told: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if status in {301, 307}:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def receivers(hook: Hook, tmp_path: Path) -> tuple[Receiver, ...]:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return load_receivers([WebhookReceiver(url=hook.url, secret_file=str(tmp_path / "secret"))])


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def _request(url: str, package: str = "pkg:pypi/thing@1.0") -> Request:
    return Request(package=package, profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, webhook=url)


def _claimed(engine: Engine, request: Request) -> Attempt:
    attempt = Attempt(submission=submit(engine, request, NOW).submission.id, number=1, owner="here")
    assert attempts.claim(engine, attempt, NOW, 30)
    return attempt


def _finish(engine: Engine, attempt: Attempt, result: Result) -> bool:
    with writing(engine) as connection:
        return attempts.finish(connection, attempt, result, NOW + 9)


def _rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(DELIVERIES).order_by(DELIVERIES.c.id)).all())


def test_the_end_is_told_and_signed(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    clock = Clock()
    deliverer = Deliverer(engine, receivers, clock)
    attempt = _claimed(engine, _request(f"{hook.url}/fumehood"))
    assert asyncio.run(deliverer.step()) == 0
    assert _finish(engine, attempt, Result(state="done", run="r1", sha256="c" * 64, verdict="malicious"))
    clock.now += 10
    assert asyncio.run(deliverer.step()) == 1
    [(path, headers, body)] = hook.told
    assert path == "/hooks/fumehood"
    told = json.loads(body)
    assert told["event"] == headers["fumehood-event"] == "submission.done"
    assert told["submission"]["id"] == attempt.submission
    assert (told["submission"]["run"], told["submission"]["verdict"]) == ("r1", "malicious")
    stamp, _, digest = headers["fumehood-signature"].partition(",")
    assert stamp == f"t={int(clock.now)}"
    expected = hmac.new(SECRET.encode(), stamp[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert digest == f"v1={expected}"
    assert asyncio.run(deliverer.step()) == 0
    [row] = _rows(engine)
    assert (row.state, row.attempts) == ("delivered", 1)


def test_a_digest_is_told_like_an_end(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    clock = Clock()
    identifier = tell(engine, gather(engine, NOW - 60, NOW), hook.url, NOW)
    clock.now += 1
    assert asyncio.run(Deliverer(engine, receivers, clock).step()) == 1
    [(_, headers, body)] = hook.told
    told = json.loads(body)
    assert (told["delivery"], told["event"], told["digest"]["until"]) == (identifier, "sweeps.digest", NOW)
    assert headers["fumehood-event"] == "sweeps.digest"
    [row] = deliveries.listed(engine, None, None, None, 10)
    assert (row.submission, row.state) == ("", "delivered")


def test_it_is_tried_again_later_until_it_is_taken(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    clock = Clock()
    hook.answers = [503, 307, 200]
    submission = submit(engine, _request(hook.url), NOW).submission.id
    control.cancel(engine, submission, "not needed", NOW)
    deliverer = Deliverer(engine, receivers, clock)
    tried = []
    for _ in range(3):
        assert asyncio.run(deliverer.step()) == 1
        assert asyncio.run(deliverer.step()) == 0  # not before its time
        [row] = _rows(engine)
        tried.append((row.state, row.reason))
        clock.now = row.due + 1
    assert tried == [
        ("pending", "the answer was 503"),
        ("pending", "the answer was 307; redirects are not followed"),
        ("delivered", ""),
    ]
    assert [path for path, _, _ in hook.told] == ["/hooks"] * 3
    assert len({headers["fumehood-delivery"] for _, headers, _ in hook.told}) == 1


def test_it_is_given_up_in_the_end_with_the_reason(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    clock = Clock()
    hook.answers = [500]
    control.cancel(engine, submit(engine, _request(hook.url), NOW).submission.id, "", NOW)
    deliverer = Deliverer(engine, receivers, clock)
    while _rows(engine)[0].state == "pending":
        asyncio.run(deliverer.step())
        clock.now = _rows(engine)[0].due + 1
    assert (_rows(engine)[0].state, _rows(engine)[0].attempts) == ("failed", TRIES)
    assert len(hook.told) == TRIES


def test_who_answers_gone_is_not_asked_again(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    hook.answers = [410]
    control.cancel(engine, submit(engine, _request(hook.url), NOW).submission.id, "", NOW)
    asyncio.run(Deliverer(engine, receivers, Clock()).step())
    assert _rows(engine)[0].state == "failed"


def test_nobody_is_told_who_is_not_configured_any_more(engine: Engine, hook: Hook) -> None:
    control.cancel(engine, submit(engine, _request(hook.url), NOW).submission.id, "", NOW)
    asyncio.run(Deliverer(engine, (), Clock()).step())
    assert hook.told == []
    assert _rows(engine)[0].state == "failed"
    assert "configuration" in _rows(engine)[0].reason


def test_everybody_who_asked_for_the_same_work_is_told(
    engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]
) -> None:
    attempt = _claimed(engine, _request(f"{hook.url}/one"))
    assert not submit(engine, _request(f"{hook.url}/two"), NOW).created
    assert not submit(engine, _request(f"{hook.url}/two"), NOW).created
    _finish(engine, attempt, Result(state="done", run="r1", verdict="clean"))
    # Who comes when it is over is told at once.
    assert not submit(engine, _request(f"{hook.url}/late"), NOW).created
    clock = Clock()
    clock.now += 10
    asyncio.run(Deliverer(engine, receivers, clock).step())
    assert sorted(path for path, _, _ in hook.told) == ["/hooks/late", "/hooks/one", "/hooks/two"]


def test_a_result_that_does_not_count_is_not_told(engine: Engine, hook: Hook) -> None:
    slow = _claimed(engine, _request(hook.url))
    attempts.lose_expired(engine, NOW + 60)
    assert not _finish(engine, slow, Result(state="done", run="r1", verdict="clean"))
    assert [row.state for row in _rows(engine)] == ["waiting"]


def test_a_dead_one_is_told_and_so_is_what_a_retry_comes_to(engine: Engine, hook: Hook) -> None:
    request = Request(
        package="pkg:pypi/thing@1.0",
        profile="pypi",
        profile_sha256="a" * 64,
        rules_sha256="b" * 64,
        webhook=hook.url,
        budget=1,
    )
    attempt = _claimed(engine, request)
    attempts.lose(engine, attempt, "the tracer crashed", NOW)
    assert [(row.state, row.event) for row in _rows(engine)] == [("pending", "submission.dead")]
    control.retry(engine, attempt.submission, 1, NOW + 1)
    assert sorted(row.state for row in _rows(engine)) == ["pending", "waiting"]


def test_a_repeat_tells_nobody_twice(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    clock = Clock()
    deliverer = Deliverer(engine, receivers, clock)
    attempt = _claimed(engine, _request(hook.url))
    submit(engine, _request(hook.url), NOW + 1)
    assert _finish(engine, attempt, Result(state="done", run="r1", verdict="clean"))
    submit(engine, _request(hook.url), NOW + 10)
    clock.now += 20
    assert asyncio.run(deliverer.step()) == 1
    submit(engine, _request(hook.url), NOW + 30)
    assert [(row.state, row.attempts) for row in _rows(engine)] == [("delivered", 1)]
    # Another one is told at once, and once.
    for at in (40, 41):
        submit(engine, _request(f"{hook.url}/other"), NOW + at)
    assert [row.state for row in _rows(engine)] == ["delivered", "pending"]


def test_an_end_that_comes_meanwhile_is_told(engine: Engine, hook: Hook) -> None:
    request = _request("")
    attempt = _claimed(engine, request)
    with ThreadPoolExecutor(1) as pool:
        with writing(engine) as connection:
            assert attempts.finish(connection, attempt, Result(state="done", run="r1", verdict="clean"), NOW + 9)
            asked = pool.submit(submit, engine, msgspec.structs.replace(request, webhook=hook.url), NOW + 9)
            while engine.dialect.name == "postgresql" and not (asked.done() or _somebody_waits(engine)):
                pass
        asked.result()
    assert [(row.state, row.event) for row in _rows(engine)] == [("pending", "submission.done")]


def _somebody_waits(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(connection.exec_driver_sql(waiting).scalar_one())


def test_a_repeat_of_who_could_not_be_told_has_it_tried_again(engine: Engine, hook: Hook) -> None:
    attempt = _claimed(engine, _request(hook.url))
    assert _finish(engine, attempt, Result(state="done", run="r1", verdict="clean"))
    with writing(engine) as connection:
        given_up = {"state": "failed", "attempts": TRIES, "ended": NOW + 20, "reason": "the answer was 500"}
        connection.execute(update(DELIVERIES).values(given_up))
    submit(engine, _request(hook.url), NOW + 30)
    assert [(row.state, row.attempts, row.due, row.event) for row in _rows(engine)] == [
        ("pending", 0, NOW + 30, "submission.done")
    ]


def test_two_processes_make_one_delivery(engine: Engine, hook: Hook, receivers: tuple[Receiver, ...]) -> None:
    for number in range(12):
        submission = submit(engine, _request(hook.url, f"pkg:pypi/thing{number}"), NOW).submission
        control.cancel(engine, submission.id, "", NOW)

    async def both() -> None:
        one, two = (Deliverer(engine, receivers, Clock()) for _ in range(2))
        await asyncio.gather(one.step(), two.step())
        await asyncio.gather(one.step(), two.step())

    asyncio.run(both())
    assert len(hook.told) == len({headers["fumehood-delivery"] for _, headers, _ in hook.told}) == 12


def test_waits_grow_to_hours_and_no_further() -> None:
    waits = [wait_after(attempt) for attempt in range(1, TRIES)]
    assert 7 < waits[0] <= 10
    assert 3 * 3600 < waits[-1] <= 6 * 3600
    assert 12 * 3600 < sum(waits) < 36 * 3600
