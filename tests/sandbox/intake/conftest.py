"""A package index on loopback, and a pip that is configured with it and nothing else."""

from __future__ import annotations

import hashlib
import html
import http.server
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.intake import PipConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = "application/vnd.pypi.simple.v1+json"


class Index(http.server.ThreadingHTTPServer):
    """Serves what `publish` was given, as JSON or, with `only_html`, as a PEP 503 page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.only_html = False
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.projects: dict[str, list[dict[str, Any]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"

    def publish(self, name: str, filename: str, data: Any = b"", **more: Any) -> None:
        self.answers[f"/files/{filename}"] = (200, "application/octet-stream", data)
        entry = {"filename": filename, "url": f"../../files/{filename}", **more}
        entry.setdefault("hashes", {"sha256": hashlib.sha256(data).hexdigest()})
        self.projects.setdefault(name, []).append(entry)

    def page(self, name: str, accept: str) -> tuple[int, str, bytes]:
        files = self.projects[name]
        if JSON in accept and not self.only_html:
            return 200, JSON, json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()
        return 200, "text/html; charset=utf-8", "".join(map(_anchor, files)).encode()


def _anchor(entry: dict[str, Any]) -> str:
    attributes = ""
    if entry.get("requires-python"):
        attributes += f' data-requires-python="{html.escape(entry["requires-python"])}"'
    if entry.get("yanked"):
        attributes += f' data-yanked="{html.escape(str(entry["yanked"]))}"'
    digest = entry["hashes"].get("sha256")
    fragment = f"#sha256={digest}" if digest else ""
    return f'<a href="{entry["url"]}{fragment}"{attributes}>{entry["filename"]}</a><br>\n'


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        accept = self.headers.get("accept", "")
        self.server.asked.append((self.path, accept))
        name = self.path.removeprefix("/simple/").strip("/")
        if self.path in self.server.answers:
            status, kind, body = self.server.answers[self.path]
        elif name in self.server.projects:
            status, kind, body = self.server.page(name, accept)
        else:
            status, kind, body = 404, "text/plain", b"not here"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def index() -> Iterator[Index]:
    server = Index()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def configuration(index: Index) -> PipConfiguration:
    return PipConfiguration(index_url=index.url)


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine where nobody configured pip; the home directory is returned."""

    for name in list(os.environ):
        if name.startswith("PIP_") or name in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"}:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(home / "xdg"))
    # The file that pip reads instead of this machine's own: os.devnull means none at all.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return home
