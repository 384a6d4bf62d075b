"""One exchange with the gateway on the proxy's socket, and its record."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
import structlog

from collector.records import ProxyRecord
from sandbox.registry.protocol import MAX_LINE, ProxyReply, ProxyRequest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

FILE_TYPE = "application/octet-stream"
_SOCKET_TIMEOUT = 60.0
_CHUNK = 256 * 1024
_OK, _BROKEN = 200, 502


class ClientGoneError(ConnectionError):
    """The gateway, or the client behind it, does not want the answer any more."""


class Answer(msgspec.Struct, kw_only=True):
    """A reply with its body and what is written down about it."""

    reply: ProxyReply
    body: bytes = b""
    path: Path | None = None
    size: int = 0
    sha256: str = ""
    cached: bool = False
    refused: str = ""


class Ledger:
    """`registry.jsonl`: one `ProxyRecord` a line; thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._out: BinaryIO = path.open("ab")

    def write(self, record: ProxyRecord) -> None:
        """Append a record."""
        line = msgspec.json.encode(record) + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def close(self) -> None:
        """Close the file; every exchange is settled."""
        self._out.close()


class Exchange:
    """One client, its request and the one record of it; a context manager that settles whatever goes wrong.

    A large file is passed on while it comes (it is a `sandbox.registry.fetch.Listener`): a client in the pod would not
    wait for all of it. The newest piece is held back until the whole is verified, so that no client ever gets a bad
    file to its end.

    Args:
        client: The accepted socket; closed at the end.
        ledger: Where the record goes.
    """

    def __init__(self, client: socket.socket, ledger: Ledger) -> None:
        client.settimeout(_SOCKET_TIMEOUT)
        self._client = client
        self._ledger = ledger
        self._lock = threading.Lock()
        self._request: ProxyRequest | None = None
        self._started = 0.0
        self._settled = False
        self._held = b""
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        try:
            if error is not None:
                self._account_for(error)
        finally:
            with self._lock:
                self._client.close()
        # The run goes on without this answer, and its record says so.
        return isinstance(error, Exception)

    def receive(self) -> ProxyRequest:
        """Read the request.

        Raises:
            ClientGoneError: There is none, or nothing that could be one.
        """
        line = b""
        try:
            while not line.endswith(b"\n"):
                chunk = self._client.recv(65536)
                if not chunk or len(line) + len(chunk) > MAX_LINE:
                    raise ClientGoneError("no complete request line")
                line += chunk
            request = msgspec.json.decode(line, type=ProxyRequest)
        except (OSError, msgspec.DecodeError) as error:
            raise ClientGoneError("no request could be read") from error
        with self._lock:
            self._started = time.time()
            self._request = request
        return request

    def finish(self, answer: Answer) -> None:
        """Write the record, then send the answer, or what is left of it.

        Raises:
            ClientGoneError: It cannot be sent.
        """
        self._settle(answer)
        if not self._begun:
            self._send(msgspec.json.encode(answer.reply) + b"\n" + answer.body)
            if answer.path is not None:
                with answer.path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        self._send(chunk)
        elif answer.reply.status == _OK:
            self._send(self._held)
        # Else the client gets a body without its end: it must not take a bad file for a good one.

    def begin(self, length: int) -> None:
        """Send the head of the answer."""
        headers = {"content-type": FILE_TYPE, "content-length": str(length)}
        self._begun = True
        self._send(msgspec.json.encode(ProxyReply(_OK, headers, length)) + b"\n")

    def hear(self, chunk: bytes) -> None:
        """Send what was held and hold the next."""
        self._send(self._held)
        self._held = chunk

    def fail(self, reason: str) -> None:
        """Record that there is no answer, unless there was one."""
        self._settle(Answer(reply=ProxyReply(_BROKEN), refused=f"failed: {reason}"))

    def _account_for(self, error: BaseException) -> None:
        if isinstance(error, ClientGoneError):
            self.fail(str(error))
            return
        # Only the kind: a message may quote what is hostile or secret.
        kind = type(error).__name__
        self.fail(f"a fault of our own ({kind})")
        log = structlog.get_logger(__name__)
        log.error("a request to the registry failed by our fault", error=kind)
        log.info("what went wrong", exc_info=error)

    def break_off(self) -> None:
        """Let the thread that serves it fail at its next look at the client."""
        with self._lock, suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _send(self, data: bytes) -> None:
        try:
            self._client.sendall(data)
        except OSError as error:
            raise ClientGoneError("the client went away") from error

    def _settle(self, answer: Answer) -> None:
        with self._lock:
            if self._settled:
                return
            self._settled = True
            if self._request is None:
                return
            self._ledger.write(
                ProxyRecord(
                    ts=self._started,
                    method=self._request.method[:32],
                    url=self._request.url[:4096],
                    status=answer.reply.status,
                    size=answer.size,
                    sha256=answer.sha256,
                    cached=answer.cached,
                    refused=answer.refused,
                )
            )
