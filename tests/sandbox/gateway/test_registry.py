"""The whole way: a client in the pod, the gateway, the unix socket, the proxy, a package index."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
import sys
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from collector.records import ConnectionRecord, HttpRecord, LimitRecord, ProxyRecord
from sandbox.registry.cache import Cache
from sandbox.registry.fetch import Fetcher, FetchSettings
from sandbox.registry.proxy import RegistryProxy
from tests.sandbox.registry.index_server import IndexServer, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Pod

POD_INDEX = "https://index.example/simple"
FILES = "files.example"


def make_wheel(name: str, padding: int = 0) -> bytes:
    """Build a wheel with one module."""
    info = f"{name}-1.0.dist-info"
    members = {
        f"{name}.py": b"VALUE = 1\n" + b"#" * padding,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in members.items()
    ]
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return out.getvalue()


@pytest.fixture
def index() -> Iterator[IndexServer]:
    with running() as server:
        yield server


class Registered:
    """A pod with a registry behind it."""

    def __init__(self, pod: Pod, directory: Path) -> None:
        self.pod = pod
        self.directory = directory

    def proxied(self) -> list[ProxyRecord]:
        lines = (self.directory / "registry.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=ProxyRecord) for line in lines]


@contextmanager
def registered(start: Callable[..., Pod], tmp_path: Path, index: IndexServer) -> Iterator[Registered]:
    socket_path = tmp_path / "r.sock"
    fetcher = Fetcher(FetchSettings(index_urls=(f"{index.base}/simple",)), Cache(tmp_path / "cache"))
    with fetcher, RegistryProxy(socket_path, tmp_path / "registry.jsonl", fetcher, POD_INDEX):
        pod = start(registry_socket=str(socket_path), registry_hosts=["index.example"])
        yield Registered(pod, tmp_path)


@pytest.mark.parametrize("form", ["json", "html"])
def test_pip_installs_through_the_gateway(
    start: Callable[..., Pod],
    tmp_path: Path,
    index: IndexServer,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    # To the worker the file host is the server of this test; in the pod a loopback address would not be redirected.
    resolve, port = socket.getaddrinfo, index.server_address[1]
    hosts = {FILES: "127.0.0.1"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve(hosts.get(host, host), *rest, **more)
    )
    wheel = make_wheel("thing", padding=300_000)
    file = f"http://{FILES}:{port}/f/thing-1.0-py3-none-any.whl"
    index.add_project("thing", {file: hashlib.sha256(wheel).hexdigest()}, form)
    index.pages["/f/thing-1.0-py3-none-any.whl"] = ("application/zip", wheel)
    with registered(start, tmp_path, index) as run:
        out = run.pod.run(
            *(sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir", "--disable-pip-version-check"),
            *("--index-url", POD_INDEX, "--cert", str(run.pod.ca), "--target", str(tmp_path / "t"), "thing"),
            seconds=60,
        )
        assert b"Successfully installed thing-1.0" in out
        served = run.pod.records(HttpRecord, count=2)
        assert [(record.host, record.served_by, record.status) for record in served] == [
            ("index.example", "registry", 200),
            (FILES, "registry", 200),
        ]
        assert served[1].response_sha256 == hashlib.sha256(wheel).hexdigest()
        assert served[1].response_size == len(wheel)
        assert [record.status for record in run.proxied()] == [200, 200]
        (connection,) = run.pod.records(ConnectionRecord, lambda record: record.conn == served[1].conn)
        assert connection.port == port


def test_everything_else_on_the_registrys_host_meets_the_sinkhole(
    start: Callable[..., Pod],
    tmp_path: Path,
    index: IndexServer,
) -> None:
    index.add_project("thing", {f"http://{FILES}/f/thing-1.0.zip": ""})
    with registered(start, tmp_path, index) as run:
        curl = run.pod.curl
        assert b"thing-1.0.zip" in curl(f"{POD_INDEX}/thing/", "-H", "Accept: application/vnd.pypi.simple.v1+json")
        assert len(index.seen) == 1
        # An upload, a foreign path, traversal, a body, a name for another address, another port, a tunnel.
        assert curl(f"{POD_INDEX}/thing/", "-d", "secret") == b"ok\n"
        for path in ("/", "/secret", "/simple/thing/?secret", "/simple/..%2fsecret/", "/simple/../simple/%74hing/x"):
            assert curl("--path-as-is", f"https://index.example{path}") == b"404 Not Found\n"
        assert curl("-X", "GET", "-d", "secret", f"{POD_INDEX}/thing/") == b"ok\n"
        assert curl("http://evil.test/simple/thing/", "-H", "Host: index.example") == b"ok\n"
        assert curl("https://evil.test/simple/thing/", "-H", "Host: index.example") == b"ok\n"
        assert curl("https://index.example/simple/thing/", "-H", "Host: index.example:8443") == b"ok\n"
        assert curl("-x", "http://proxy.test:8080", "--noproxy", "", f"{POD_INDEX}/thing/") == b"ok\n"
        assert curl("-x", "http://index.example", "--noproxy", "", "http://index.example/simple/thing/") == b"ok\n"
        assert len(index.seen) == 1
        others = run.pod.records(HttpRecord, lambda record: record.served_by != "registry", count=13)
        assert {record.served_by for record in others} == {"sinkhole"}
        refused = [record for record in run.proxied() if record.refused]
        assert len(refused) == 5
        assert all(record.status == 403 for record in refused)


def test_a_host_is_learnt_from_the_index(start: Callable[..., Pod], tmp_path: Path, index: IndexServer) -> None:
    index.add_project("thing", {f"http://{FILES}/f/thing-1.0.zip": ""})
    with registered(start, tmp_path, index) as run:
        assert run.pod.curl(f"http://{FILES}/f/thing-1.0.zip") == b"ok\n"
        run.pod.curl(f"{POD_INDEX}/thing/")
        # Now it goes down the socket; the file host is unknown to the world outside, so the registry fails.
        assert b"files.example did not answer" in run.pod.curl(f"http://{FILES}/f/thing-1.0.zip")
        assert [record.served_by for record in run.pod.records(HttpRecord, count=3)] == [
            "sinkhole",
            "registry",
            "registry",
        ]


def test_a_dead_proxy_is_our_fault_and_said(start: Callable[..., Pod], tmp_path: Path) -> None:
    pod = start(registry_socket=str(tmp_path / "none.sock"), registry_hosts=["index.example"])
    assert pod.curl(f"{POD_INDEX}/thing/") == b"502 Bad Gateway\n"
    assert pod.records(HttpRecord)[0].status == 502
    assert pod.records(LimitRecord)[0].what == "the registry proxy does not answer"
