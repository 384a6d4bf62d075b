"""A real HTTP server on loopback that plays a package index."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

WHEEL = b"PK-wheel-bytes" * 1000
METADATA = b"Metadata-Version: 2.1\nName: thing\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class IndexServer(http.server.ThreadingHTTPServer):
    """Serves `pages`: path -> (content type, body); counts requests; knows ETags, redirects and a password."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.password = ""
        self.tls: ssl.SSLContext | None = None
        """With it the server is also a proxy (CONNECT) behind which any host is this index."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add_project(self, name: str, files: dict[str, str], form: str = "json") -> None:
        """Publish a page; `files` maps address -> sha256 ('' for none)."""
        if form == "json":
            entries = [
                {"filename": url.rsplit("/", 1)[-1], "url": url, "hashes": {"sha256": sha} if sha else {}}
                for url, sha in files.items()
            ]
            document = {"meta": {"api-version": "1.0"}, "name": name, "files": entries}
            self.pages[f"/simple/{name}/"] = ("application/vnd.pypi.simple.v1+json", json.dumps(document).encode())
            return
        anchors = "".join(
            f'<a href="{url}{f"#sha256={sha}" if sha else ""}" data-requires-python="&gt;=3.8">{url}</a>\n'
            for url, sha in files.items()
        )
        self.pages[f"/simple/{name}/"] = ("text/html", f"<html><body>{anchors}</body></html>".encode())


class _Handler(http.server.BaseHTTPRequestHandler):
    server: IndexServer
    protocol_version = "HTTP/1.1"
    # Else a body waits for its headers to be acknowledged, which takes the client 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = self.server
        server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if server.password and self.headers.get("authorization") != server.password:
            self._answer(401, b"", {})
        elif self.path in server.statuses:
            self._answer(server.statuses[self.path], b"", {})
        elif self.path in server.redirects:
            self._answer(302, b"", {"Location": server.redirects[self.path]})
        elif self.path not in server.pages:
            self._answer(404, b"nothing here", {})
        else:
            kind, body = server.pages[self.path]
            etag = f'"{digest(body)}"'
            if self.headers.get("if-none-match") == etag:
                self._answer(304, b"", {"ETag": etag})
            else:
                self._answer(200, body, {"ETag": etag, "Content-Type": kind})

    def do_CONNECT(self) -> None:
        assert self.server.tls is not None
        self.send_response(200)
        self.end_headers()
        self.request = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.setup()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def running(server: IndexServer | None = None) -> Iterator[IndexServer]:
    """Start a server and stop it at the end."""
    server = server or IndexServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
