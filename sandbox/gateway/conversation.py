"""One TCP connection from its first bytes to its record."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

import h11

from collector.records import ConnectionRecord, TlsRecord
from sandbox.gateway.channel import Channel, SocketChannel, TlsChannel
from sandbox.gateway.detect import Speech, listen
from sandbox.gateway.hello import Hello, parse_hello
from sandbox.gateway.http_session import HttpSession, MalformedError, Sequel
from sandbox.gateway.raw_session import RawSession
from sandbox.gateway.registry_client import RegistryBrokenError
from sandbox.gateway.websocket import serve_websocket

if TYPE_CHECKING:
    from sandbox.gateway.origin import Origin
    from sandbox.gateway.services import Services

_MAX_DEPTH = 4
_DNS_PORT = 53
_PREFIX = 2  # the length before a DNS message on TCP
_MAX_ERROR = 200


class Conversation:
    """Answers one connection.

    Args:
        services: What all connections share.
        base: The connection's socket.
        origin: What was dialled.
        conn: Number of the connection.
    """

    def __init__(self, services: Services, base: SocketChannel, origin: Origin, conn: int) -> None:
        self._services = services
        self._base = base
        self._origin = origin
        self._conn = conn
        self._started = time.time()
        self._protocol = Speech.SILENT
        self._error = ""

    async def run(self) -> None:
        """Answer until the end; what the peer does wrong becomes the record's error, never an exception."""
        try:
            await self._serve(self._base, depth=0, sni=None, tunnel=False)
        except TimeoutError:
            self._error = "lasted too long" if self._base.expired else "idle"
        except (OSError, RegistryBrokenError, h11.LocalProtocolError) as error:
            self._error = _describe(error)
        except asyncio.CancelledError:
            self._error = "the gateway stopped"
            raise
        finally:
            self._services.journal.write(
                ConnectionRecord(
                    ts=self._started,
                    conn=self._conn,
                    peer_port=self._origin.peer_port,
                    ip=self._origin.ip,
                    port=self._origin.port,
                    protocol=self._protocol.value,
                    received=self._base.received,
                    sent=self._base.sent,
                    ended=time.time(),
                    error=self._error,
                ),
            )

    async def _serve(self, channel: Channel, *, depth: int, sni: str | None, tunnel: bool) -> None:
        """Serve whatever the peer speaks on a channel; tunnels and TLS come back here, one level deeper."""
        speech, said = await listen(channel, self._origin.port, self._services.limits)
        if depth == 0:
            self._protocol = speech
        if speech is Speech.TLS and depth < _MAX_DEPTH:
            await self._serve_tls(channel, depth=depth, tunnel=tunnel)
        elif speech is Speech.HTTP:
            session = HttpSession(
                self._services,
                channel,
                self._base,
                self._origin,
                self._conn,
                sni=sni,
                tunnel=tunnel,
            )
            try:
                sequel = await session.run()
            except MalformedError as error:
                await self._serve_raw(channel, error.answer, depth=depth)
                return
            if sequel is Sequel.WEBSOCKET:
                await serve_websocket(self._services, channel, self._conn)
            elif sequel is Sequel.TUNNEL and depth < _MAX_DEPTH:
                await self._serve(channel, depth=depth + 1, sni=sni, tunnel=True)
        elif speech is not Speech.SILENT or said:
            await self._serve_raw(channel, said, depth=depth)

    async def _serve_tls(self, channel: Channel, *, depth: int, tunnel: bool) -> None:
        started = time.time()
        hello, first = await self._read_hello(channel)
        channel.give_back(first)
        if hello is None:
            await self._serve_raw(channel, b"", depth=depth)
            return
        secure = TlsChannel(channel, self._services.mint.context(hello.sni, self._origin.ip))
        error = ""
        try:
            await secure.handshake(self._services.limits.idle_seconds)
        except TimeoutError:
            error = "the client stopped in the handshake"
            raise
        except OSError as failure:
            error = _describe(failure)
            raise
        except asyncio.CancelledError:
            error = "the gateway stopped"
            raise
        finally:
            self._services.journal.write(
                TlsRecord(
                    ts=started,
                    conn=self._conn,
                    sni=hello.sni,
                    alpn=hello.alpn,
                    completed=not error,
                    error=error,
                ),
            )
        await self._serve(secure, depth=depth + 1, sni=hello.sni, tunnel=tunnel)

    async def _read_hello(self, channel: Channel) -> tuple[Hello | None, bytes]:
        """Read a whole ClientHello; None when the bytes turn out to be something else, or end before."""
        data = b""
        while True:
            try:
                if hello := parse_hello(data):
                    return hello, data
                more = await channel.receive(self._services.limits.idle_seconds)
            except (ValueError, TimeoutError):
                return None, data
            if not more:
                return None, data
            data += more

    async def _serve_raw(self, channel: Channel, said: bytes, *, depth: int) -> None:
        """Listen; a client of mail may go on with TLS."""
        if self._origin.port == _DNS_PORT and not said and await self._serve_dns(channel):
            return
        secured = await RawSession(self._services, channel, self._origin, self._conn, said).run()
        if secured and depth < _MAX_DEPTH:
            await self._serve(channel, depth=depth + 1, sni=None, tunnel=False)

    async def _serve_dns(self, channel: Channel) -> bool:
        """Answer DNS over TCP; False, and the bytes back in the channel, as soon as something else comes."""
        data, served = b"", False
        while True:
            length = int.from_bytes(data[:_PREFIX], "big")
            message, rest = data[_PREFIX : _PREFIX + length], data[_PREFIX + length :]
            if message and len(message) == length:
                try:
                    reply = self._services.names.answer(message, self._origin.peer_port, "tcp")
                except ValueError:
                    break
                served, data = True, rest
                await channel.send(len(reply).to_bytes(_PREFIX, "big") + reply)
                continue
            try:
                more = await channel.receive(self._services.limits.silence_seconds)
            except TimeoutError:
                break
            if not more:
                break
            data += more
        channel.give_back(data)
        return served and not data


def _describe(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason
    return (str(error) or type(error).__name__)[:_MAX_ERROR]
