"""The gateway's process: opens the sockets, says `ready`, stops on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sandbox.gateway.capture import Capture, Stream
from sandbox.gateway.channel import SocketChannel
from sandbox.gateway.conversation import Conversation
from sandbox.gateway.dns import DnsProtocol, NameServer
from sandbox.gateway.journal import Journal, JournalError
from sandbox.gateway.leaves import LeafMint
from sandbox.gateway.metadata import MetadataService
from sandbox.gateway.names import AddressBook
from sandbox.gateway.origin import find_origin
from sandbox.gateway.registry_client import RegistryClient
from sandbox.gateway.services import Services
from sandbox.gateway.tap import PacketTap

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.gateway.config import GatewayConfig

_BACKLOG = 1024
_RETRY_SECONDS = 0.1
_DRAIN_SECONDS = 0.02
_DESCRIPTORS = 8192


class Gateway:
    """Accepts connections and keeps count of them.

    Args:
        services: What all connections share.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def accept(self, listener: socket.socket) -> None:
        """Accept connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:
                # Out of descriptors, or the peer was gone before we came.
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._count += 1
            if len(self._tasks) >= self._services.limits.connections:
                self._services.journal.limit("open connections: later ones were closed unread")
                self._services.journal.lost("connections", self._services.limits.connections)
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection, self._count))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(_report)

    async def stop(self) -> None:
        """End every connection; each writes its record."""
        # What has arrived already is read first.
        await asyncio.sleep(_DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            # asyncio does it for transports only, and an answer in two writes would wait 40 ms for an ACK.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            limits, origin = self._services.limits, find_origin(connection)
            stream = Stream(self._services.capture, origin, limits.body_bytes)
            base = SocketChannel(connection, limits.connection_seconds, stream)
            try:
                await Conversation(self._services, base, origin, number).run()
            finally:
                stream.close()


async def serve(config: GatewayConfig) -> None:
    """Run the gateway until SIGTERM or SIGINT.

    Raises:
        JournalError: The records cannot be written.
    """
    _raise_descriptors()
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        out = stack.enter_context(_append(config.records))
        journal = Journal(out, config.limits.record_bytes)
        stack.callback(journal.close)
        watch = _Watch(journal)
        loop.set_exception_handler(watch)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, watch.stopping.set)
        if config.until_eof:
            loop.add_reader(0, watch.hear)
            stack.callback(loop.remove_reader, 0)
        capture = Capture(Path(config.capture), journal, config)
        stack.callback(capture.close)
        services = _services(config, journal, capture)
        gateway = Gateway(services)
        listeners = [stack.enter_context(_catch_all(config.tcp_port)), *_dns_listeners(config.dns_port, stack)]
        acceptors = [asyncio.create_task(gateway.accept(listener)) for listener in listeners]
        for task in acceptors:
            task.add_done_callback(_report)
        protocol = partial(DnsProtocol, services.names, journal, capture, config.limits.body_bytes)
        stack.callback(await _name_server(protocol, "127.0.0.1", config.dns_port))
        # A namespace may be without IPv6.
        with suppress(OSError):
            stack.callback(await _name_server(protocol, "::1", config.dns_port))
        stack.enter_context(PacketTap(journal, capture, config.dns_port, config.limits.body_bytes))
        print("ready", flush=True)  # noqa: T201 - the protocol with whoever started us
        await watch.stopping.wait()
        for task in acceptors:
            task.cancel()
        await gateway.stop()
        if watch.failure:
            raise watch.failure


class _Watch:
    """Hears of every error that nobody expected: evidence is missing, and the run must know."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.stopping = asyncio.Event()
        self.failure: JournalError | None = None

    def hear(self) -> None:
        """Standard input has something to say, which can only be that it ended."""
        if not os.read(0, 1024):
            self.stopping.set()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, JournalError):
            loop.default_exception_handler(context)
            try:
                self._journal.limit(f"a fault of the gateway's own ({type(error).__name__}) ended a connection")
            except JournalError as broken:
                error = broken
        if isinstance(error, JournalError):
            # Without records there is no point in answering.
            self.failure = error
            self.stopping.set()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        task.get_loop().call_exception_handler({"message": "a task of the gateway failed", "exception": error})


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _append(path: str) -> BinaryIO:
    return Path(path).open("ab")


def _services(config: GatewayConfig, journal: Journal, capture: Capture) -> Services:
    book = AddressBook()
    mint = LeafMint(
        Path(config.ca_certificate).read_bytes(),
        Path(config.ca_key).read_bytes(),
        Path(config.scratch),
        capture.key_log,
    )
    return Services(
        limits=config.limits,
        journal=journal,
        capture=capture,
        book=book,
        names=NameServer(book, journal),
        mint=mint,
        metadata=MetadataService(config.metadata),
        registry=RegistryClient(config.registry_socket, config.registry_hosts),
    )


def _catch_all(port: int) -> socket.socket:
    """Listen on every address of both families; on IPv4 alone where the kernel has no IPv6."""
    try:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return _listening(socket.socket(socket.AF_INET, socket.SOCK_STREAM), "0.0.0.0", port)  # noqa: S104
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return _listening(listener, "::", port)


async def _name_server(protocol: Callable[[], DnsProtocol], host: str, port: int) -> Callable[[], None]:
    """Answer DNS over UDP on one address; returns what ends it."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(protocol, local_addr=(host, port))
    return transport.close


def _dns_listeners(port: int, stack: ExitStack) -> list[socket.socket]:
    listeners = [stack.enter_context(_listening(socket.socket(socket.AF_INET), "127.0.0.1", port))]
    with suppress(OSError):
        listeners.append(stack.enter_context(_listening(socket.socket(socket.AF_INET6), "::1", port)))
    return listeners


def _listening(listener: socket.socket, host: str, port: int) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
