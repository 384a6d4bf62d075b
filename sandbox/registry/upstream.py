"""One careful HTTP GET: credentials only for their own place, redirects only to hosts we know, errors as ours."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from weakref import WeakSet

import httpx2

from sandbox.registry.errors import NotFoundError, RegistryError, UnreachableError
from sandbox.registry.links import canonical, host_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpcore2

    from sandbox.registry.credentials import Credentials

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_FORBIDDEN = frozenset({401, 403, 407})
_OK, _NOT_MODIFIED, _CLIENT_ERROR, _SERVER_ERROR = 200, 304, 400, 500
_USER_AGENT = "fumehood"
_ENDED = "the run ended before the registry answered"


def trust(ca_file: str, client_cert: str) -> ssl.SSLContext:
    """Make the TLS settings: the given bundle, else the system's store (which `SSL_CERT_FILE` replaces).

    Raises:
        RegistryError: One of the files cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if client_cert:
            context.load_cert_chain(client_cert)
    except OSError as error:
        raise RegistryError(
            f"the certificate file pip is configured with ({Path(ca_file or client_cert)}) cannot be used: {error}; "
            "correct `cert` or `client-cert` in pip's configuration",
        ) from error
    return context


class Upstream:
    """Sends GETs to the index and the file hosts; thread-safe.

    Args:
        context: TLS settings.
        credentials: Who we are.
        hosts: Hosts that a redirect may lead to; see `admit`.
        timeout: Seconds for connecting and for each read.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        credentials: Credentials,
        hosts: frozenset[str],
        timeout: float,
    ) -> None:
        self._client = httpx2.Client(
            verify=context,
            timeout=timeout,
            headers={"User-Agent": _USER_AGENT},
            limits=httpx2.Limits(max_connections=16),
        )
        self._credentials = credentials
        self._hosts = hosts
        self._streams: WeakSet[httpcore2.NetworkStream] = WeakSet()
        self._lock = threading.Lock()
        self._broken_off = False

    def break_off(self) -> None:
        """Let every GET under way fail at once, in whatever thread, and every later one."""
        with self._lock:
            self._broken_off = True
            streams = tuple(self._streams)
        for stream in streams:
            _shut(stream)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def admit(self, hosts: frozenset[str]) -> None:
        """Let redirects lead to these hosts too: an index answer links to them."""
        self._hosts |= hosts

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """Open a GET; the body is not read yet.

        Yields:
            A response with status 200 or 304.

        Raises:
            NotFoundError: The server says it has no such thing, or not for us.
            UnreachableError: No connection, a server error, an unusable answer or a redirect to somewhere else.
        """
        try:
            response = self._follow(url, headers)
            try:
                _require_success(response, url)
                yield response
            finally:
                response.close()
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            if self._broken_off:
                raise UnreachableError(_ENDED) from error
            raise UnreachableError(f"{host_of(url)} did not answer usably: {_reason(error)}") from error

    def _follow(self, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        current = url
        for _ in range(_MAX_REDIRECTS + 1):
            if self._broken_off:
                raise UnreachableError(_ENDED)
            extensions = {"trace": self._watch}
            request = self._client.build_request("GET", current, headers=dict(headers), extensions=extensions)
            pair = self._credentials.find(current)
            response = self._client.send(request, auth=pair, stream=True, follow_redirects=False)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            current = self._redirect(current, response.headers.get("location", ""))
        raise UnreachableError(f"{host_of(url)} redirects more than {_MAX_REDIRECTS} times")

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep hold of each connection that the client makes."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._streams.add(info["return_value"])
                late = self._broken_off
            if late:
                _shut(info["return_value"])

    def _redirect(self, current: str, location: str) -> str:
        target = canonical(urljoin(current, location))
        if not target or host_of(target) not in self._hosts:
            raise UnreachableError(
                f"{host_of(current)} redirects to {host_of(target) or 'an unusable address'}, "
                "which is neither the configured index nor linked from it",
            )
        if current.startswith("https:") and not target.startswith("https:"):
            raise UnreachableError(f"{host_of(current)} redirects from https to http")
        return target


def _shut(stream: httpcore2.NetworkStream) -> None:
    # A shutdown wakes the reader. Closing under it would not, and the descriptor's number could be reused.
    with suppress(OSError):
        connection: socket.socket = stream.get_extra_info("socket")
        # Not the method of TLS: it would take the reader's state away too.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _require_success(response: httpx2.Response, url: str) -> None:
    status = response.status_code
    if status in (_OK, _NOT_MODIFIED):
        return
    if status in _GONE:
        raise NotFoundError(f"{host_of(url)} does not have {urlsplit(url).path}", 404)
    if status in _FORBIDDEN:
        raise NotFoundError(f"{host_of(url)} refuses access (status {status}); check pip's credentials for it", 403)
    if _CLIENT_ERROR <= status < _SERVER_ERROR:
        raise NotFoundError(f"{host_of(url)} refuses the request with status {status}", 404)
    raise UnreachableError(f"{host_of(url)} answers with status {status}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}" if str(error) else type(error).__name__
