"""The gateway's side of the way to the registry: which requests take it, and the exchange on the unix socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from sandbox.registry.protocol import FORWARDED, MAX_LINE, ProxyReply, ProxyRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_REPLY_SECONDS = 600.0
_BODY_SECONDS = 120.0
_CHUNK = 65536


class RegistryBrokenError(ConnectionError):
    """The proxy went away or broke off its answer."""


class Body:
    """The answer's bytes as they come."""

    def __init__(self, reader: asyncio.StreamReader, length: int) -> None:
        self._reader = reader
        self._left = length

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            RegistryBrokenError: It ended early.
        """
        while self._left:
            async with asyncio.timeout(_BODY_SECONDS):
                chunk = await self._reader.read(min(_CHUNK, self._left))
            if not chunk:
                raise RegistryBrokenError("the registry proxy broke off")
            self._left -= len(chunk)
            yield chunk


class RegistryClient:
    """Asks the worker's proxy.

    Args:
        socket_path: Its unix socket; empty when there is no registry.
        hosts: Names that are the registry; grows with the hosts that index pages name.
    """

    def __init__(self, socket_path: str, hosts: tuple[str, ...]) -> None:
        self._path = socket_path
        self._hosts = {host.lower() for host in hosts} if socket_path else set()

    def is_registry(self, host: str) -> bool:
        """Tell whether a name (lower case) or address belongs to the registry."""
        return host in self._hosts

    @asynccontextmanager
    async def ask(self, method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[tuple[ProxyReply, Body]]:
        """Pass one request on.

        Raises:
            RegistryBrokenError: The proxy cannot be reached or does not answer.
        """
        wanted = {name: headers[name] for name in FORWARDED if name in headers}
        line = msgspec.json.encode(ProxyRequest(method, url, wanted)) + b"\n"
        if len(line) > MAX_LINE:
            raise RegistryBrokenError("the request is too long for the registry")
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
                writer.write(line)
                reply = msgspec.json.decode(await reader.readuntil(b"\n"), type=ProxyReply)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, msgspec.DecodeError) as error:
            if writer is not None:
                writer.close()
            raise RegistryBrokenError("the registry proxy does not answer") from error
        try:
            self._hosts.update(host.lower() for host in reply.link_hosts)
            yield reply, Body(reader, reply.length)
        finally:
            writer.close()
