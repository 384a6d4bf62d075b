"""Byte channels to a peer: a socket, and TLS on top of any channel. Bytes can be given back, timeouts are errors."""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from sandbox.gateway.capture import Stream

_CHUNK = 65536
_SEND_SECONDS = 30.0


class Channel(ABC):
    """A conversation's way to its peer."""

    def __init__(self) -> None:
        self._given_back = b""

    def give_back(self, data: bytes) -> None:
        """Put bytes back in front: the next `receive` returns them."""
        self._given_back = data + self._given_back

    async def receive(self, seconds: float) -> bytes:
        """Return the next bytes; empty at the end.

        Raises:
            TimeoutError: Nothing came in that time, or the connection's life is over.
            OSError: The connection broke.
        """
        if data := self._given_back:
            self._given_back = b""
            return data
        return await self._receive(seconds)

    @abstractmethod
    async def _receive(self, seconds: float) -> bytes: ...

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send all bytes.

        Raises:
            TimeoutError: The peer does not read.
            OSError: The connection broke.
        """


class SocketChannel(Channel):
    """A non-blocking TCP socket with a bounded life, counting bytes.

    Args:
        sock: The socket; the caller closes it.
        life: Seconds until every further `receive` is a TimeoutError; see `extend`.
        stream: Where all bytes are captured.
    """

    def __init__(self, sock: socket.socket, life: float, stream: Stream) -> None:
        super().__init__()
        self._sock = sock
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + life
        self.received = 0
        self.sent = 0

    def extend(self, seconds: float) -> None:
        """Prolong the connection's life: it waited for us."""
        self._deadline += seconds

    @property
    def expired(self) -> bool:
        """Whether the connection's life is over."""
        return self._loop.time() >= self._deadline

    async def _receive(self, seconds: float) -> bytes:
        if self.expired:
            raise TimeoutError("the connection lasted too long")
        end = min(self._loop.time() + seconds, self._deadline)
        while True:
            # Bytes are only ever read here, after all waiting: a time-out must not lose what has come, nor may a busy
            # machine make us speak to a client that did speak first.
            try:
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                if self._loop.time() >= end:
                    raise TimeoutError("nothing came") from None
                await self._wait_readable(end)
            else:
                self.received += len(data)
                self._stream.heard(data)
                return data

    async def _wait_readable(self, end: float) -> None:
        woken: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._sock, _wake, woken)
        timer = self._loop.call_at(end, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._loop.remove_reader(self._sock)

    async def send(self, data: bytes) -> None:
        """See `Channel.send`."""
        self._stream.said(data)
        async with asyncio.timeout(_SEND_SECONDS):
            await self._loop.sock_sendall(self._sock, data)
        self.sent += len(data)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class TlsChannel(Channel):
    """The server's side of TLS over another channel; `handshake` comes first.

    All methods raise `ssl.SSLError` (an OSError) for what is wrong with the peer's TLS.
    """

    def __init__(self, below: Channel, context: ssl.SSLContext) -> None:
        super().__init__()
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self, seconds: float) -> None:
        """Do the handshake; `seconds` bounds each wait."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._feed(seconds):
                    raise ConnectionAbortedError("closed during the handshake") from None
            else:
                await self._flush()
                return

    async def _receive(self, seconds: float) -> bytes:
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._feed(seconds):
                    return b""

    async def send(self, data: bytes) -> None:
        """See `Channel.send`."""
        for start in range(0, len(data), _CHUNK):
            self._tls.write(data[start : start + _CHUNK])
            await self._flush()

    async def _feed(self, seconds: float) -> bool:
        data = await self._below.receive(seconds)
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._below.send(data)
