from __future__ import annotations

import json
import socket
import stat
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from collector.records import ProxyRecord
from sandbox.registry import proxy as proxy_module
from sandbox.registry.cache import Cache
from sandbox.registry.fetch import Fetcher, FetchSettings, Form, IndexAnswer
from sandbox.registry.protocol import ProxyReply, ProxyRequest
from sandbox.registry.proxy import RegistryProxy

from .index_server import METADATA, WHEEL, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .index_server import IndexServer

POD = "https://index.example/simple"
JSON = {"accept": "application/vnd.pypi.simple.v1+json"}


class Pod:
    """Speaks the gateway's side of the protocol."""

    def __init__(self, directory: Path) -> None:
        self.socket_path = directory / "registry.sock"
        self.records_path = directory / "registry.jsonl"

    def raw(self, data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.socket_path))
            client.sendall(data)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
            return answer

    @contextmanager
    def asking(self, url: str) -> Iterator[socket.socket]:
        """Send a request and do not wait for its answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.socket_path))
            client.sendall(msgspec.json.encode(ProxyRequest("GET", url, JSON)) + b"\n")
            yield client

    def ask(self, url: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[ProxyReply, bytes]:
        line = msgspec.json.encode(ProxyRequest(method, url, headers or JSON)) + b"\n"
        head, _, body = self.raw(line).partition(b"\n")
        reply = msgspec.json.decode(head, type=ProxyReply)
        assert len(body) == reply.length
        return reply, body

    def records(self) -> list[ProxyRecord]:
        lines = self.records_path.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=ProxyRecord) for line in lines]


@contextmanager
def serving(tmp_path: Path, index: IndexServer, kind: type[Fetcher] = Fetcher) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    settings = FetchSettings(index_urls=(f"{index.base}/simple",))
    with (
        kind(settings, Cache(tmp_path / "cache")) as fetcher,
        RegistryProxy(pod.socket_path, pod.records_path, fetcher, POD),
    ):
        yield pod


@pytest.fixture
def pod(tmp_path: Path, index: IndexServer) -> Iterator[Pod]:
    index.add_project("thing", {"/f/thing-1.whl": digest(WHEEL), "/f/bad.whl": "0" * 64})
    index.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    index.pages["/f/thing-1.whl.metadata"] = ("text/plain", METADATA)
    index.pages["/f/bad.whl"] = ("application/zip", WHEEL)
    index.pages["/f/unlisted.whl"] = ("application/zip", WHEEL)
    with serving(tmp_path, index) as pod:
        yield pod


def test_the_flow_of_an_install(pod: Pod, index: IndexServer) -> None:
    reply, body = pod.ask(f"{POD}/Thing/")
    assert reply.status == 200
    assert reply.link_hosts == ("127.0.0.1",)
    url = json.loads(body)["files"][0]["url"]
    assert url == f"{index.base}/f/thing-1.whl"
    assert pod.ask(f"{url}.metadata")[1] == METADATA
    reply, body = pod.ask(url)
    assert body == WHEEL
    assert reply.headers["content-length"] == str(len(WHEEL))
    reply, body = pod.ask(url, "HEAD")
    assert (reply.length, body, reply.headers["content-length"]) == (0, b"", str(len(WHEEL)))
    last = pod.records()[2]
    assert (last.method, last.url, last.status, last.size) == ("GET", url, 200, len(WHEEL))
    assert (last.sha256, last.cached, last.refused) == (digest(WHEEL), False, "")
    assert pod.records()[3].cached


def test_html_for_clients_that_do_not_know_json(pod: Pod, index: IndexServer) -> None:
    index.add_project("old", {"../../f/thing-1.whl": digest(WHEEL)}, "html")
    reply, body = pod.ask(f"{POD}/old/", headers={"accept": "text/html"})
    assert reply.headers["content-type"] == "text/html"
    assert f'href="{index.base}/f/thing-1.whl#sha256='.encode() in body
    assert JSON["accept"] not in index.seen[-1][2]["accept"]
    etag = reply.headers["etag"]
    again, body = pod.ask(f"{POD}/old/", headers={"accept": "text/html", "if-none-match": etag})
    assert (again.status, body) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/simple/thing/"),
        ("GET", "/f/unlisted.whl"),
        ("GET", "/simple/../f/unlisted.whl"),
        ("GET", "/simple/..%2ff%2funlisted.whl"),
        ("GET", "/f/thing-1.whl?leak=1"),
        ("DELETE", "/f/thing-1.whl"),
    ],
)
def test_refusals_never_reach_the_index(pod: Pod, index: IndexServer, method: str, path: str) -> None:
    pod.ask(f"{POD}/thing/")
    asked = len(index.seen)
    reply, _ = pod.ask(f"{index.base}{path}", method)
    assert reply.status == 403
    assert reply.refused
    assert pod.records()[-1].refused == reply.refused
    assert len(index.seen) == asked


def test_files_of_another_run_are_unknown(pod: Pod, index: IndexServer) -> None:
    assert pod.ask(f"{index.base}/f/thing-1.whl")[0].refused


def test_wrong_digest_is_502_and_written_down(pod: Pod, index: IndexServer) -> None:
    pod.ask(f"{POD}/thing/")
    reply, body = pod.ask(f"{index.base}/f/bad.whl")
    assert reply.status == 502
    assert not reply.refused
    assert b"promised" in body
    assert "promised" in pod.records()[-1].refused


def test_missing_project_and_dead_index(tmp_path: Path, index: IndexServer) -> None:
    with serving(tmp_path, index) as pod:
        assert pod.ask(f"{POD}/missing/")[0].status == 404
        index.shutdown()
        index.server_close()
        assert pod.ask(f"{POD}/thing/")[0].status == 502
        assert pod.records()[-1].status == 502


@pytest.mark.parametrize("data", [b"garbage\n", b"[]\n", b'{"method":1}\n', b"x" * 300_000, b"\xff\n"])
def test_garbage_is_dropped_and_the_proxy_lives(pod: Pod, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        assert pod.raw(data) == b""
    assert pod.ask(f"{POD}/thing/")[0].status == 200


def test_the_socket_is_private_and_removed(tmp_path: Path, index: IndexServer) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with serving(deep, index) as pod:
        assert stat.S_IMODE(pod.socket_path.stat().st_mode) == 0o600
    assert not pod.socket_path.exists()


def test_large_files_are_passed_on_while_they_come(tmp_path: Path, index: IndexServer) -> None:
    large = bytes(range(256)) * 40_000
    index.add_project("big", {"/f/good.whl": digest(large), "/f/bad.whl": "0" * 64})
    index.pages["/f/good.whl"] = index.pages["/f/bad.whl"] = ("application/zip", large)
    with serving(tmp_path, index) as pod:
        pod.ask(f"{POD}/big/")
        reply, body = pod.ask(f"{index.base}/f/good.whl")
        assert (reply.status, body == large) == (200, True)
        line = msgspec.json.encode(ProxyRequest("GET", f"{index.base}/f/bad.whl", {})) + b"\n"
        head, _, body = pod.raw(line).partition(b"\n")
        assert len(body) < msgspec.json.decode(head, type=ProxyReply).length
        last = pod.records()[-1]
        assert (last.status, "promised" in last.refused) == (502, True)
        assert pod.ask(f"{index.base}/f/good.whl")[1] == large
        assert pod.records()[-1].cached


def _wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("registry")]


def test_a_client_that_goes_away_is_written_down(tmp_path: Path, index: IndexServer) -> None:
    large = bytes(20 * 1024**2)
    index.add_project("big", {"/f/big.whl": digest(large)})
    index.pages["/f/big.whl"] = ("application/zip", large)
    with serving(tmp_path, index) as pod:
        pod.ask(f"{POD}/big/")
        with pod.asking(f"{index.base}/f/big.whl") as client:
            assert client.recv(10)
        _wait_for(lambda: len(pod.records()) == 2)
        last = pod.records()[-1]
        assert (last.url, last.refused) == (f"{index.base}/f/big.whl", "failed: the client went away")


class _Faulty(Fetcher):
    def page(self, url: str, form: Form = "json") -> IndexAnswer:
        raise KeyError("what=secret", url, form)


def test_a_fault_of_our_own_is_logged_and_written_down(tmp_path: Path, index: IndexServer) -> None:
    with capture_logs() as logs, serving(tmp_path, index, _Faulty) as pod:
        with pod.asking(f"{POD}/thing/") as client:
            assert client.recv(10) == b""
        (record,) = pod.records()
        assert (record.status, record.refused) == (502, "failed: a fault of our own (KeyError)")
        assert pod.ask(f"{POD}/thing/", "POST")[0].refused
    assert [(log["log_level"], log.get("error")) for log in logs] == [("error", "KeyError"), ("info", None)]


def test_a_broken_cache_is_answered_and_written_down(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "cache" / "incoming").rmdir()
    reply, body = pod.ask(f"{POD}/thing/")
    assert (reply.status, reply.refused) == (500, "")
    assert b"cache" in body
    assert "cache" in pod.records()[-1].refused


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"])
def test_the_end_breaks_off_what_a_slow_index_keeps(tmp_path: Path, index: IndexServer, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:
        index.redirects["/simple/thing/"] = f"http://127.0.0.1:{slow.getsockname()[1]}/"
        with ExitStack() as stack:
            with serving(tmp_path, index) as pod:
                stack.enter_context(pod.asking(f"{POD}/thing/"))
                server = stack.enter_context(slow.accept()[0])
                server.recv(9999)
                server.sendall(said)
            (record,) = pod.records()
            assert record.refused == "failed: the run ended before the registry answered"
            assert _threads() == []


def test_the_end_does_not_wait_for_what_cannot_be_broken_off(
    tmp_path: Path, index: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "_STOP_SECONDS", 0.2)
    entered, release = threading.Event(), threading.Event()

    class Stuck(Fetcher):
        def page(self, url: str, form: Form = "json") -> IndexAnswer:
            entered.set()
            release.wait(30)
            return super().page(url, form)

    with serving(tmp_path, index, Stuck) as pod, pod.asking(f"{POD}/thing/"):
        entered.wait(10)
    assert not release.is_set()
    (record,) = pod.records()
    assert record.refused == "failed: the run ended before the registry answered"
    release.set()
    _wait_for(lambda: not _threads())
    assert pod.records() == [record]
    assert index.seen == []
