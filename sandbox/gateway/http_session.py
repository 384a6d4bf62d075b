"""HTTP/1.1 on a channel: every request is read whole, written down and answered."""

from __future__ import annotations

import enum
import hashlib
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

import h11

from collector.records import HttpRecord
from sandbox.gateway.answers import Answer, sinkhole
from sandbox.gateway.metadata import is_metadata
from sandbox.gateway.registry_client import RegistryBrokenError
from sandbox.gateway.request_target import Address, address_of
from sandbox.gateway.websocket import accept_key

if TYPE_CHECKING:
    from sandbox.gateway.channel import Channel, SocketChannel
    from sandbox.gateway.origin import Origin
    from sandbox.gateway.services import Services

_MAX_HEAD = 65536
_MAX_HEADERS = 200
_MAX_HEADER = 16384
_MAX_HOST = 255
_MAX_TYPE = 255
_BODYLESS = frozenset({204, 304})
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Sequel(enum.Enum):
    """What follows in a channel when HTTP is over."""

    END = enum.auto()
    TUNNEL = enum.auto()
    """The peer opened a tunnel (CONNECT): another conversation begins."""
    WEBSOCKET = enum.auto()


class MalformedError(Exception):
    """The peer's bytes are no HTTP/1.1; they are back in the channel, and `answer` was sent."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("malformed HTTP")
        self.answer = answer


@dataclass(slots=True)
class _Exchange:
    """One request and what became of it."""

    ts: float
    method: str
    target: str
    address: Address
    headers: tuple[tuple[str, str], ...]
    cut: bool = False
    """Some header, or part of one, is not kept."""
    body: bytearray = field(default_factory=bytearray)
    size: int = 0
    served_by: str = "sinkhole"
    status: int = 0
    response_size: int = 0
    digest: str = ""
    response_type: str = ""

    def header(self, name: str) -> str:
        """Return the first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), "")


class HttpSession:
    """Serves one channel until it ends.

    Args:
        services: What all connections share.
        channel: Where requests come from.
        base: The connection's socket, whose life waits for the registry.
        origin: What was dialled.
        conn: Number of the connection.
        sni: The name in the TLS hello; None without TLS.
        tunnel: The requests come through a CONNECT.
    """

    def __init__(  # noqa: PLR0913 - one place makes it
        self,
        services: Services,
        channel: Channel,
        base: SocketChannel,
        origin: Origin,
        conn: int,
        *,
        sni: str | None,
        tunnel: bool,
    ) -> None:
        self._services = services
        self._channel = channel
        self._base = base
        self._origin = origin
        self._conn = conn
        self._sni = sni
        self._tunnel = tunnel
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._seen = bytearray()

    async def run(self) -> Sequel:
        """Answer requests until the peer or HTTP ends the connection.

        Raises:
            MalformedError: The peer sent something else than HTTP.
            OSError: The connection broke or was silent for too long.
        """
        while True:
            request = await self._next(self._services.limits.keepalive_seconds)
            if not isinstance(request, h11.Request):
                return Sequel.END
            exchange = self._begin(request)
            try:
                await self._read_body(exchange)
                if sequel := await self._switch(exchange):
                    return sequel
                await self._answer(exchange)
            finally:
                self._record(exchange)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return Sequel.END
            self._http.start_next_cycle()
            self._seen = bytearray(self._http.trailing_data[0])

    async def _switch(self, exchange: _Exchange) -> Sequel | None:
        """Leave HTTP when the request asks for it; what came behind it goes back into the channel."""
        key = exchange.header("sec-websocket-key")
        if exchange.method == "CONNECT":
            exchange.status, sequel = 200, Sequel.TUNNEL
            await self._send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        elif key and exchange.header("upgrade").lower() == "websocket":
            exchange.status, sequel = 101, Sequel.WEBSOCKET
            headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
            await self._send(h11.InformationalResponse(status_code=101, headers=headers))
        else:
            return None
        self._channel.give_back(self._http.trailing_data[0])
        return sequel

    async def _next(self, seconds: float) -> h11.Event | None:
        """Return the next event of the peer; None when it may not speak before we do."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                await self._reject(error)
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                return None
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            data = await self._channel.receive(seconds)
            if len(self._seen) < _MAX_HEAD:
                self._seen += data
            self._http.receive_data(data)

    async def _reject(self, error: h11.RemoteProtocolError) -> None:
        answered = b""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answered = _BAD_REQUEST
            await self._channel.send(answered)
        self._channel.give_back(bytes(self._seen))
        raise MalformedError(answered) from error

    def _begin(self, request: h11.Request) -> _Exchange:
        received = list(request.headers)
        headers = tuple(
            (name.decode("latin-1"), value[:_MAX_HEADER].decode("latin-1")) for name, value in received[:_MAX_HEADERS]
        )
        cut = len(received) > _MAX_HEADERS or any(len(value) > _MAX_HEADER for _, value in received)
        target = request.target.decode("latin-1")
        host = next((value for name, value in headers if name == "host"), "")
        return _Exchange(
            ts=time.time(),
            method=request.method.decode("latin-1"),
            target=target,
            address=address_of(target, host, self._origin, connect=request.method == b"CONNECT"),
            headers=headers,
            cut=cut,
        )

    async def _read_body(self, exchange: _Exchange) -> None:
        limit = self._services.limits.body_bytes
        while True:
            event = await self._next(self._services.limits.idle_seconds)
            if isinstance(event, h11.Data):
                exchange.size += len(event.data)
                exchange.body += event.data[: max(0, limit - len(exchange.body))]
            else:
                return

    async def _answer(self, exchange: _Exchange) -> None:
        if url := self._registry_url(exchange):
            await self._answer_from_registry(exchange, url)
        elif is_metadata(exchange.address.host, self._origin.ip):
            service = self._services.metadata
            await self._send_answer(
                exchange,
                service.answer(exchange.method, exchange.target, dict(reversed(exchange.headers))),
            )
        else:
            await self._send_answer(
                exchange,
                sinkhole(exchange.target, exchange.header("accept"), exchange.header("content-type")),
            )

    def _registry_url(self, exchange: _Exchange) -> str:
        """Return the URL to ask the registry for, or nothing: every sign must agree that the registry is meant."""
        address, origin = exchange.address, self._origin
        dialled = self._services.book.name(origin.ip) or origin.ip
        consistent = (
            exchange.method in ("GET", "HEAD")
            and not exchange.size
            and not self._tunnel
            and exchange.target.startswith("/")
            and self._services.registry.is_registry(address.host)
            and dialled == address.host
            and self._sni in (None, "", address.host)
        )
        scheme, usual = ("http", 80) if self._sni is None else ("https", 443)
        if not consistent or (address.port or usual) != origin.port:
            return ""
        host = f"[{address.host}]" if ":" in address.host else address.host
        port = "" if origin.port == usual else f":{origin.port}"
        return f"{scheme}://{host}{port}{exchange.target}"

    async def _answer_from_registry(self, exchange: _Exchange, url: str) -> None:
        asked = time.monotonic()
        try:
            async with self._services.registry.ask(
                exchange.method,
                url,
                dict(reversed(exchange.headers)),
            ) as (reply, body):
                if reply.refused:
                    await self._send_answer(exchange, Answer(status=404, body=b"404 Not Found\n"))
                    return
                exchange.served_by, exchange.status = "registry", reply.status
                await self._send_head(exchange, tuple(reply.headers.items()))
                digest = hashlib.sha256()
                async for chunk in body.chunks():
                    digest.update(chunk)
                    exchange.response_size += len(chunk)
                    await self._send(h11.Data(data=chunk))
                exchange.digest = digest.hexdigest() if exchange.response_size else ""
                await self._send(h11.EndOfMessage())
        except RegistryBrokenError as error:
            self._services.journal.limit(str(error))
            if self._http.our_state is not h11.SEND_RESPONSE:
                raise
            await self._send_answer(exchange, Answer(status=502, body=b"502 Bad Gateway\n"))
        finally:
            self._base.extend(time.monotonic() - asked)

    async def _send_answer(self, exchange: _Exchange, answer: Answer) -> None:
        exchange.served_by, exchange.status = answer.served_by, answer.status
        headers = answer.headers
        if answer.status not in _BODYLESS:
            headers += (("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))))
        await self._send_head(exchange, headers)
        if answer.body and exchange.method != "HEAD":
            exchange.response_size = len(answer.body)
            exchange.digest = hashlib.sha256(answer.body).hexdigest()
            await self._send(h11.Data(data=answer.body))
        await self._send(h11.EndOfMessage())

    async def _send_head(self, exchange: _Exchange, headers: tuple[tuple[str, str], ...]) -> None:
        exchange.response_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        own = [("Date", formatdate(usegmt=True))]
        if not any(name.lower() == "server" for name, _ in headers):
            own.append(("Server", "nginx"))
        lines = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in (*own, *headers)]
        await self._send(h11.Response(status_code=exchange.status, headers=lines))

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._channel.send(data)

    def _record(self, exchange: _Exchange) -> None:
        self._services.journal.write(
            HttpRecord(
                ts=exchange.ts,
                conn=self._conn,
                tls=self._sni is not None,
                method=exchange.method[:64],
                host=exchange.address.host[:_MAX_HOST],
                target=exchange.target,
                headers=exchange.headers,
                body=bytes(exchange.body),
                size=exchange.size,
                truncated=exchange.cut or exchange.size > len(exchange.body),
                served_by=exchange.served_by,
                status=exchange.status,
                response_size=exchange.response_size,
                response_sha256=exchange.digest,
                response_type=exchange.response_type[:_MAX_TYPE],
            ),
        )
