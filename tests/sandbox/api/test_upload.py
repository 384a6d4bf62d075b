"""Files come in on disk, bounded and checked, before a row speaks of them."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import msgspec
import psutil
import pytest
from sqlalchemy import delete, func, select, update

from sandbox.api import receive
from sandbox.database.schema import SUBMISSIONS, UPLOADS
from sandbox.store.uploads import prune_uploads
from sandbox.submissions import query
from tests.sandbox.api.conftest import ON_BOTH
from tests.sandbox.intake import building
from tests.sandbox.store.meanwhile import Meanwhile

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered


def _send(client: httpx2.Client, data: Any, filename: str = building.WHEEL, query: str = "") -> httpx2.Response:
    return client.post(f"/submissions/upload{query}", files={"file": (filename, data)})


def _nothing_left(api: Offered) -> bool:
    uploads = api.service.configuration.uploads
    with api.service.engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(SUBMISSIONS)).scalar_one()
    return rows == 0 and (not uploads.exists() or list(uploads.iterdir()) == [])


@pytest.fixture
def wheel(tmp_path: Path) -> bytes:
    return building.wheel(tmp_path / building.WHEEL).read_bytes()


@ON_BOTH
def test_a_file_is_kept_by_its_digest_and_named_by_the_row(api: Offered, wheel: bytes) -> None:
    digest = hashlib.sha256(wheel).hexdigest()
    with api.client("submit") as client:
        answer = _send(client, wheel, query="?lane=escalation&artefact=wheel")
        assert answer.status_code == 201
        again = _send(client, wheel, query="?lane=escalation&artefact=wheel")
        assert (again.status_code, again.json()["id"]) == (200, answer.json()["id"])
    row = query.get(api.service.engine, answer.json()["id"])
    assert row
    assert (row.package, row.upload, row.lane, row.artefact) == (building.WHEEL, digest, "escalation", "wheel")
    uploads = api.service.configuration.uploads
    assert (uploads / digest / building.WHEEL).read_bytes() == wheel
    assert [path.name for path in uploads.iterdir()] == [digest]


@ON_BOTH
def test_an_old_file_that_is_sent_again_survives_those_who_tidy_up_meanwhile(
    api: Offered, offer: Callable[..., Offered], wheel: bytes
) -> None:
    service, digest = api.service, hashlib.sha256(wheel).hexdigest()
    here = service.configuration.uploads
    with api.client("submit") as client:
        first = _send(client, wheel).json()["id"]
    api.finish(api.run(first), state="failed")
    with service.engine.begin() as connection:
        connection.execute(update(SUBMISSIONS).values(changed=0.0))
        connection.execute(delete(UPLOADS))
    [kept] = (Path(service.configuration.evidence) / ".uploads").glob("*/*")
    os.utime(kept, (0, 0))
    removed = []

    def keep(really: Callable[..., None], file: Path, sha256: str) -> None:
        """Somebody has looked what there is before it is kept again, and removes it before it has a row."""
        seen = list(service.evidence.uploads())
        really(file, sha256)
        late = Meanwhile(service.evidence, "uploads", lambda _really: iter(seen))
        removed.append(prune_uploads(service.engine, late, here, service.clock() - 3600))

    racing = offer(
        api.service.configuration, lambda it: replace(it, evidence=Meanwhile(it.evidence, "keep_upload", keep))
    )
    with racing.client("submit") as client:
        answer = _send(client, wheel)
    assert (answer.status_code, removed) == (201, [0])
    assert service.evidence.keeps_upload(digest)
    assert (here / digest / building.WHEEL).read_bytes() == wheel
    # Once nobody needs it any more, it goes.
    api.finish(api.run(answer.json()["id"]), state="failed")
    assert prune_uploads(service.engine, service.evidence, here, service.clock() + 3600) == 1
    assert not service.evidence.keeps_upload(digest)
    assert list(here.iterdir()) == []


def test_an_sdist_is_taken_too(api: Offered, tmp_path: Path) -> None:
    with api.client("submit") as client:
        answer = _send(client, building.sdist(tmp_path / building.SDIST).read_bytes(), building.SDIST)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("filename", "says"),
    [
        ("thing.exe", "is not an artefact"),
        ("thing.whl", "is not a wheel's name"),
        ("../../thing-1.0-py3-none-any.whl", "is not an artefact"),
        ("thing-1.0-py3-none-any.whl\0.exe", "artefact"),
        ("", "file"),
        ("a" * 300 + "-1.0-py3-none-any.whl", "artefact"),
        ("\x1b[31mthing-1.0.tar.gz", "is not an artefact"),
        (f"thing-1.0-{'é' * 220}-none-any.whl", "is not an artefact"),
    ],
)
def test_a_name_that_is_no_artefacts_is_refused(api: Offered, wheel: bytes, filename: str, says: str) -> None:
    with api.client("submit") as client:
        answer = _send(client, wheel, filename)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert "\x1b" not in answer.text
    assert _nothing_left(api)


def _bomb(path: Path) -> bytes:
    return building.wheel(path, (building.zip_entry("thing/zeros"), bytes(50 * 1024**2))).read_bytes()


def _tar_bomb(path: Path) -> bytes:
    return building.sdist(path, building.tar_entry("thing-1.0/zeros", bytes(50 * 1024**2))).read_bytes()


@pytest.mark.parametrize(
    ("make", "filename", "says"),
    [
        (lambda _: b"", building.WHEEL, "archive"),
        (lambda _: b"MZ" + bytes(100), building.WHEEL, "archive"),
        (lambda _: os.urandom(10_000), building.SDIST, "archive"),
        (lambda path: building.sdist(path).read_bytes(), building.WHEEL, "archive"),
        (_bomb, building.WHEEL, "bomb"),
        (_tar_bomb, building.SDIST, "bomb"),
        (
            lambda path: building.wheel(path, (building.zip_entry("../../etc/passwd"), b"x")).read_bytes(),
            building.WHEEL,
            "leads out of it",
        ),
    ],
)
def test_what_is_no_honest_archive_is_refused(
    api: Offered, tmp_path: Path, make: Callable[[Path], bytes], filename: str, says: str
) -> None:
    with api.client("submit") as client:
        answer = _send(client, make(tmp_path / "made"), filename)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert _nothing_left(api)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/octet-stream", b"PK", 415),
        ("multipart/form-data", b"PK", 415),
        ("multipart/form-data; boundary=x", b"no form at all", 422),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nPK\r\n--x--\r\n",
            422,
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nX: " + b"a" * 100_000, 422),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
        ("multipart/form-data; boundary=" + "x" * 1000, b"--x\r\n", 422),
        ("multipart/form-data; boundary=x", b"", 422),
    ],
)
def test_what_is_no_such_form_is_refused(api: Offered, content_type: str, body: bytes, status: int) -> None:
    with api.client("submit") as client:
        answer = client.post("/submissions/upload", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert "multipart/form-data" in answer.json()["detail"]
    assert _nothing_left(api)


def test_a_form_with_two_files_or_half_a_file_is_refused(api: Offered, wheel: bytes) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % building.WHEEL.encode()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with api.client("submit") as client:
        for body in (part + wheel + b"\r\n" + part + wheel + b"\r\n--x--\r\n", part + wheel):
            answer = client.post("/submissions/upload", content=body, headers=headers)
            assert answer.status_code == 422
            assert answer.json()["type"] == "urn:fumehood:problem:form"
        # What is known by the name is told before the rest is missed.
        answer = client.post("/submissions/upload?artefact=sdist", content=part + wheel, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:fumehood:problem:artefact")
        assert answer.json()["detail"].startswith(f"'{building.WHEEL}' is a wheel, not an sdist; ")
    assert _nothing_left(api)


def test_options_are_checked_before_anything_is_sent(api: Offered, wheel: bytes) -> None:
    with api.client("submit") as client:
        for wrong in ("?lane=fast", "?profile=none", "?priority=1", "?webhook=http://127.0.0.1/", "?artefact=sdist"):
            assert _send(client, wheel, query=wrong).status_code == 422
    with api.client(None) as client:
        assert _send(client, wheel).status_code == 401
    assert _nothing_left(api)


def _raw(api: Offered, head: str, body: bytes = b"") -> bytes:
    """What a server says to a sender that keeps no rules."""
    where = urlsplit(api.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer and b'"request_id"' in answer:
                break
    return answer


def test_a_full_lane_and_a_full_disk_are_told_before_a_file_is_kept(
    configuration: Configuration, offer: Callable[..., Offered], wheel: bytes
) -> None:
    plan = msgspec.structs.replace(configuration.queue, manuals=1)
    full = offer(msgspec.structs.replace(configuration, queue=plan))
    full.submitted()
    with full.client("submit") as client:
        refused = _send(client, wheel)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:fumehood:problem:lane-full")
    small = msgspec.structs.replace(configuration, api=msgspec.structs.replace(configuration.api, upload_mb=1 << 40))
    with offer(small).client("submit") as client:
        refused = _send(client, wheel)
        assert (refused.status_code, refused.json()["type"]) == (507, "urn:fumehood:problem:disk-full")
    assert list(configuration.uploads.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_told(api: Offered, wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "SPARE", 1 << 60)
    with api.client("submit") as client:
        refused = _send(client, wheel)
        assert (refused.status_code, refused.json()["type"]) == (507, "urn:fumehood:problem:disk-full")
        assert int(refused.headers["retry-after"]) > 0
    assert _nothing_left(api)


def test_ten_gigabytes_are_refused_by_their_announcement(api: Offered) -> None:
    secret = api.secret("submit")
    head = f"""POST /api/v1/submissions/upload HTTP/1.1
Host: fumehood.test
Authorization: Bearer {secret}
Content-Type: multipart/form-data; boundary=x
Content-Length: {10 * 1024**3}"""
    assert _raw(api, head).startswith(b"HTTP/1.1 413 ")
    for length in ("-1", "1e9", "99999999999999999999999"):
        assert _raw(api, head.replace(str(10 * 1024**3), length))[9:12] in {b"413", b"400"}


def test_a_body_that_never_ends_is_cut_and_costs_no_memory(
    configuration: Configuration, offer: Callable[..., Offered]
) -> None:
    plan = msgspec.structs.replace(configuration.api, upload_mb=64)
    api = offer(msgspec.structs.replace(configuration, api=plan))
    before = psutil.Process().memory_info().rss
    most = 0

    def endless() -> Any:
        nonlocal most
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % building.WHEEL.encode()
        piece = os.urandom(1024**2)
        for _ in range(1000):
            yield piece
            most = max(most, psutil.Process().memory_info().rss)

    with api.client("submit", timeout=60) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        # The connection may be gone before the answer is read.
        with suppress(httpx2.TransportError):
            assert client.post("/submissions/upload", content=endless(), headers=headers).status_code == 413
    assert most - before < 48 * 1024**2
    assert _nothing_left(api)


def test_json_is_bounded_too(api: Offered) -> None:
    with api.client("submit") as client:
        assert client.post("/submissions", content=b"[" * 2 * 1024**2).status_code == 413
        assert client.post("/submissions", content=b"[" * 100_000).status_code == 422


def test_a_sender_that_leaves_leaves_nothing(api: Offered) -> None:
    secret = api.secret("submit")
    head = f"""POST /api/v1/submissions/upload HTTP/1.1
Host: fumehood.test
Authorization: Bearer {secret}
Content-Type: multipart/form-data; boundary=x
Content-Length: 1000000"""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % building.WHEEL.encode()
    where = urlsplit(api.url)
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + part + bytes(1000))
        gone = threading.Event()
        for _ in range(600):
            if list(api.service.configuration.uploads.glob(".incoming-*")):
                gone.set()
                break
            threading.Event().wait(0.05)
        assert gone.is_set()
    for _ in range(600):
        if _nothing_left(api):
            return
        threading.Event().wait(0.05)
    pytest.fail("the file of a sender that left is still there")
