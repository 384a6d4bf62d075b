"""The registry proxy: answers a pod's gateway on a unix socket, and alone reaches the registry."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import structlog

from sandbox.errors import PodError
from sandbox.registry.errors import RegistryError
from sandbox.registry.exchange import FILE_TYPE, Answer, ClientGoneError, Exchange, Ledger
from sandbox.registry.links import JSON_TYPE, host_of
from sandbox.registry.policy import IndexedFile, IndexPage, Policy, Refusal
from sandbox.registry.protocol import ProxyReply, ProxyRequest

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from sandbox.registry.fetch import Fetcher, Form

_THREADS = 16
_STOP_SECONDS = 3.0
_MAX_METADATA_BYTES = 16 * 1024**2
_MAX_LINK_HOSTS = 256
_ACCEPT_PAUSE = 0.2
_OK, _NOT_MODIFIED, _FORBIDDEN, _FAULT = 200, 304, 403, 500


class RegistryProxy:
    """Serves one run's gateway; a context manager that listens from `__enter__` to `__exit__`.

    Args:
        socket_path: Where to listen; made with mode 0600, removed at the end.
        records: `registry.jsonl`; one `ProxyRecord` a line is appended.
        fetcher: Reaches the registry; broken off at the end, and closed by the caller.
        pod_index_url: What the pod's pip dials by default; its pages are those of the fetcher's primary index.
    """

    def __init__(self, socket_path: Path, records: Path, fetcher: Fetcher, pod_index_url: str) -> None:
        self._path = socket_path
        self._records_path = records
        self._fetcher = fetcher
        self._policy = Policy(fetcher.index_urls, pod_index_url)
        self._lock = threading.Lock()
        self._hosts: set[str] = set()
        self._exchanges: set[Exchange] = set()
        self._stopping = threading.Event()
        # Threads of a pool would keep the process until the slowest server has answered.
        self._threads = tuple(
            threading.Thread(target=self._accept, name=f"registry-{number}", daemon=True) for number in range(_THREADS)
        )

    def __enter__(self) -> Self:
        self._ledger = Ledger(self._records_path)
        self._listener = _listen(self._path)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._stopping.set()
            exchanges = tuple(self._exchanges)
        # Wakes whoever accepts (Linux: accept() then fails with EINVAL).
        self._listener.shutdown(socket.SHUT_RDWR)
        self._fetcher.break_off()
        for exchange in exchanges:
            exchange.break_off()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        for exchange in exchanges:
            # Of those that did not end; the others have their record.
            exchange.fail("the run ended before the registry answered")
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._ledger.close()

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
            self._serve(Exchange(client, self._ledger))

    def _serve(self, exchange: Exchange) -> None:
        with exchange:
            with self._lock:
                if self._stopping.is_set():
                    return
                self._exchanges.add(exchange)
            exchange.finish(self._answer(exchange.receive(), exchange))
        with self._lock:
            self._exchanges.discard(exchange)

    def _answer(self, request: ProxyRequest, passing: Exchange) -> Answer:
        decision = self._policy.decide(request.method, request.url)
        head_only = request.method == "HEAD"
        try:
            match decision:
                case Refusal(reason):
                    return Answer(reply=ProxyReply(_FORBIDDEN, refused=reason), refused=reason)
                case IndexPage(url):
                    return self._index(url, request, head_only=head_only)
                case IndexedFile():
                    return self._file(decision, None if head_only else passing)
        except RegistryError as error:
            return _failure(str(error), error.status, head_only=head_only)
        except ClientGoneError:
            raise
        except OSError as error:
            # The cache: the disk is full, or broken.
            reason = f"the worker's cache cannot be used: {error.strerror}"
            structlog.get_logger(__name__).warning(reason)
            return _failure(reason, _FAULT, head_only=head_only)

    def _index(self, url: str, request: ProxyRequest, *, head_only: bool) -> Answer:
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
            return Answer(reply=reply, cached=page.cached)
        headers["content-length"] = str(len(page.body))
        body = b"" if head_only else page.body
        return Answer(
            reply=ProxyReply(_OK, headers, len(body), hosts),
            body=body,
            size=len(body),
            sha256="" if head_only else digest,
            cached=page.cached,
        )

    def _file(self, wanted: IndexedFile, passing: Exchange | None) -> Answer:
        bound = _MAX_METADATA_BYTES if wanted.metadata else None
        stored = self._fetcher.stored(wanted.url, wanted.sha256, bound, passing)
        head_only = passing is None
        size = 0 if head_only else stored.blob.size
        headers = {
            "content-type": FILE_TYPE,
            "content-length": str(stored.blob.size),
            "etag": f'"{stored.blob.sha256[:32]}"',
            "cache-control": "max-age=365000000, immutable, public",
        }
        return Answer(
            reply=ProxyReply(_OK, headers, size),
            path=None if head_only else stored.blob.path,
            size=size,
            sha256="" if head_only else stored.blob.sha256,
            cached=stored.cached,
        )


def _failure(reason: str, status: int, *, head_only: bool) -> Answer:
    text = f"{reason}\n".encode("utf-8", "replace")
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text))}
    body = b"" if head_only else text
    # Not `refused` towards the gateway: the registry was asked, its failure is the answer.
    return Answer(reply=ProxyReply(status, headers, len(body)), body=body, refused=f"failed: {reason}")


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
