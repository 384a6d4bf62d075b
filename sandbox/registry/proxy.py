"""The registry proxy: answers a pod's gateway on a unix socket, and alone reaches the registry."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import msgspec

from collector.records import ProxyRecord
from sandbox.errors import PodError
from sandbox.registry.errors import RegistryError
from sandbox.registry.links import JSON_TYPE, host_of
from sandbox.registry.policy import IndexedFile, IndexPage, Policy, Refusal
from sandbox.registry.protocol import MAX_LINE, ProxyReply, ProxyRequest

if TYPE_CHECKING:
    from types import TracebackType

    from sandbox.registry.fetch import Fetcher, Form

_THREADS = 16
_SOCKET_TIMEOUT = 60.0
_MAX_METADATA_BYTES = 16 * 1024**2
_MAX_LINK_HOSTS = 256
_CHUNK = 256 * 1024
_ACCEPT_PAUSE = 0.2
_OK, _NOT_MODIFIED, _FORBIDDEN = 200, 304, 403


class _Answer(msgspec.Struct, kw_only=True):
    """A reply with its body and what is written down about it."""

    reply: ProxyReply
    body: bytes = b""
    path: Path | None = None
    size: int = 0
    sha256: str = ""
    cached: bool = False
    refused: str = ""


class _Passing:
    """Passes a large file on while it comes: a client in the pod would not wait for all of it.

    The newest piece is held back until the whole is verified, so that no client ever gets a bad file to its end.
    """

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._held = b""
        self.begun = False

    def begin(self, length: int) -> None:
        """Send the head of the answer."""
        headers = {"content-type": "application/octet-stream", "content-length": str(length)}
        self.begun = True
        self._client.sendall(msgspec.json.encode(ProxyReply(_OK, headers, length)) + b"\n")

    def hear(self, chunk: bytes) -> None:
        """Send what was held and hold the next."""
        self._client.sendall(self._held)
        self._held = chunk

    def finish(self) -> None:
        """Send the last piece: the file is good."""
        self._client.sendall(self._held)


class RegistryProxy:
    """Serves one run's gateway; a context manager that listens from `__enter__` to `__exit__`.

    Args:
        socket_path: Where to listen; made with mode 0600, removed at the end.
        records: `registry.jsonl`; one `ProxyRecord` a line is appended.
        fetcher: Reaches the registry; the caller closes it.
        pod_index_url: What the pod's pip dials by default; its pages are those of the fetcher's primary index.
    """

    def __init__(self, socket_path: Path, records: Path, fetcher: Fetcher, pod_index_url: str) -> None:
        self._path = socket_path
        self._records_path = records
        self._fetcher = fetcher
        self._policy = Policy(fetcher.index_urls, pod_index_url)
        self._lock = threading.Lock()
        self._hosts: set[str] = set()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="registry")
        self._acceptor = threading.Thread(target=self._accept, name="registry-accept", daemon=True)

    def __enter__(self) -> Self:
        self._records: BinaryIO = self._records_path.open("ab")
        self._listener = _listen(self._path)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        # Wakes the acceptor at once (Linux: accept() then fails with EINVAL).
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._pool.shutdown(cancel_futures=True)
        self._records.close()

    @property
    def link_hosts(self) -> tuple[str, ...]:
        """Hosts of files that index answers named so far; they are the registry too."""
        with self._lock:
            return tuple(sorted(self._hosts))

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                # Stopping; or out of descriptors: the ones in use come back as exchanges end.
                self._stopping.wait(_ACCEPT_PAUSE)
                continue
            self._pool.submit(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(_SOCKET_TIMEOUT)
            try:
                request = _read_request(client)
                started = time.time()
                passing = _Passing(client)
                answer = self._answer(request, passing)
                self._write(started, request, answer)
                if not passing.begun:
                    _send(client, answer)
                elif answer.reply.status == _OK:
                    passing.finish()
                # Else the client gets a body without its end: it must not take a bad file for a good one.
            except (OSError, msgspec.DecodeError):
                # The gateway (or the client behind it) went away: nothing is left to answer.
                return

    def _answer(self, request: ProxyRequest, passing: _Passing) -> _Answer:
        decision = self._policy.decide(request.method, request.url)
        head_only = request.method == "HEAD"
        try:
            match decision:
                case Refusal(reason):
                    return _Answer(reply=ProxyReply(_FORBIDDEN, refused=reason), refused=reason)
                case IndexPage(url):
                    return self._index(url, request, head_only=head_only)
                case IndexedFile():
                    return self._file(decision, None if head_only else passing)
        except RegistryError as error:
            return _failure(error, head_only=head_only)

    def _index(self, url: str, request: ProxyRequest, *, head_only: bool) -> _Answer:
        form: Form = "json" if JSON_TYPE in request.headers.get("accept", "") else "html"
        page = self._fetcher.page(url, form)
        self._policy.learn(page.files)
        digest = hashlib.sha256(page.body).hexdigest()
        etag = f'"{digest[:32]}"'
        headers = {"content-type": page.content_type, "etag": etag, "cache-control": "max-age=0", "vary": "Accept"}
        hosts = tuple(sorted({host_of(link.url) for link in page.files}))[:_MAX_LINK_HOSTS]
        with self._lock:
            self._hosts.update(hosts)
        if request.headers.get("if-none-match") == etag:
            reply = ProxyReply(_NOT_MODIFIED, headers, link_hosts=hosts)
            return _Answer(reply=reply, cached=page.cached)
        headers["content-length"] = str(len(page.body))
        body = b"" if head_only else page.body
        return _Answer(
            reply=ProxyReply(_OK, headers, len(body), hosts),
            body=body,
            size=len(body),
            sha256="" if head_only else digest,
            cached=page.cached,
        )

    def _file(self, wanted: IndexedFile, passing: _Passing | None) -> _Answer:
        bound = _MAX_METADATA_BYTES if wanted.metadata else None
        stored = self._fetcher.stored(wanted.url, wanted.sha256, bound, passing)
        head_only = passing is None
        size = 0 if head_only else stored.blob.size
        headers = {
            "content-type": stored.content_type,
            "content-length": str(stored.blob.size),
            "etag": f'"{stored.blob.sha256[:32]}"',
            "cache-control": "max-age=365000000, immutable, public",
        }
        return _Answer(
            reply=ProxyReply(_OK, headers, size),
            path=None if head_only else stored.blob.path,
            size=size,
            sha256="" if head_only else stored.blob.sha256,
            cached=stored.cached,
        )

    def _write(self, started: float, request: ProxyRequest, answer: _Answer) -> None:
        record = ProxyRecord(
            ts=started,
            method=request.method[:32],
            url=request.url[:4096],
            status=answer.reply.status,
            size=answer.size,
            sha256=answer.sha256,
            cached=answer.cached,
            refused=answer.refused,
        )
        line = msgspec.json.encode(record) + b"\n"
        with self._lock:
            self._records.write(line)
            self._records.flush()


def _failure(error: RegistryError, *, head_only: bool) -> _Answer:
    text = f"{error}\n".encode("utf-8", "replace")
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text))}
    body = b"" if head_only else text
    # Not `refused` towards the gateway: the registry was asked, its failure is the answer.
    return _Answer(reply=ProxyReply(error.status, headers, len(body)), body=body, refused=f"failed: {error}")


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # By way of the directory's descriptor: a socket's own path may have 107 bytes only.
        name = f"/proc/self/fd/{directory}/{path.name}"
        listener.bind(name)
        # Nobody can connect before listen(), so there is no moment with wider permissions.
        path.chmod(0o600)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PodError(f"cannot listen on the registry socket {path}: {error}; is its directory writable?") from error
    finally:
        os.close(directory)
    return listener


def _read_request(client: socket.socket) -> ProxyRequest:
    line = b""
    while not line.endswith(b"\n"):
        chunk = client.recv(65536)
        if not chunk or len(line) + len(chunk) > MAX_LINE:
            raise ConnectionError("no complete request line")
        line += chunk
    return msgspec.json.decode(line, type=ProxyRequest)


def _send(client: socket.socket, answer: _Answer) -> None:
    client.sendall(msgspec.json.encode(answer.reply) + b"\n" + answer.body)
    if answer.path is None:
        return
    with answer.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            client.sendall(chunk)
