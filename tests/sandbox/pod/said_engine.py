"""A server that speaks as a Docker engine does, for what no engine here can be brought to say."""

from __future__ import annotations

import contextlib
import http.server
import json
import platform
import socketserver
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIT = {
    "KernelVersion": platform.release(),
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"],
    "MemoryLimit": True,
    "PidsLimit": True,
    "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}},
}
"""What an engine says that can hold pods."""


@contextlib.contextmanager
def speaking(path: Path, answers: dict[str, Any]) -> Iterator[str]:
    """An engine that gives these answers, by the end of the path that is asked for; gives its DOCKER_HOST."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = next((answer for end, answer in answers.items() if self.path.endswith(end)), None)
            body = json.dumps({"message": "not here"} if found is None else found)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def address_string(self) -> str:
            return "a client"

        def log_message(self, *_: object) -> None:
            """Nobody wants to know."""

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            serving.join()
