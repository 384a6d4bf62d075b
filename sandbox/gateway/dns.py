"""The pod's name server: every name exists, and every question is written down."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import TYPE_CHECKING, Any, cast

from collector.records import DatagramRecord, DnsRecord
from sandbox.gateway import dns_wire as wire

if TYPE_CHECKING:
    from sandbox.gateway.capture import Capture
    from sandbox.gateway.journal import Journal
    from sandbox.gateway.names import AddressBook

_REVERSE = ".in-addr.arpa"
_QUADS = 4


class NameServer:
    """Answers queries, whatever transport they came by.

    Args:
        book: Gives names their addresses.
        journal: Where questions are written down.
    """

    def __init__(self, book: AddressBook, journal: Journal) -> None:
        self._book = book
        self._journal = journal

    def answer(self, data: bytes, peer_port: int, transport: str) -> bytes:
        """Answer one query and record its questions.

        Raises:
            ValueError: It is not a DNS query.
        """
        query = wire.parse_query(data)
        answers: list[wire.Answer] = []
        rcode = wire.NOTIMP if query.opcode else wire.NOERROR
        for number, question in enumerate(query.questions):
            status, value = (rcode, "") if rcode else self._resolve(question)
            if value:
                answers.append(wire.Answer(number, value))
            self._journal.write(
                DnsRecord(
                    ts=time.time(),
                    peer_port=peer_port,
                    transport=transport,
                    name=question.name,
                    sent=question.sent if question.sent != question.name else "",
                    qtype=wire.type_name(question.qtype),
                    rcode=wire.RCODES[status],
                    answers=(value,) if value else (),
                ),
            )
            rcode = rcode or status
        return wire.build_reply(query, rcode, tuple(answers))

    def _resolve(self, question: wire.Question) -> tuple[int, str]:
        if not question.name:
            return (wire.NOERROR, "") if question.qtype != wire.TYPE_A else (wire.NXDOMAIN, "")
        if _is_address(question.name):
            return wire.NXDOMAIN, ""
        if question.qtype == wire.TYPE_A:
            return wire.NOERROR, self._book.address(question.name)
        if question.qtype == wire.TYPE_PTR:
            name = self._book.name(_reversed_address(question.name))
            return (wire.NOERROR, name) if name else (wire.NXDOMAIN, "")
        return wire.NOERROR, ""


class DnsProtocol(asyncio.DatagramProtocol):
    """The UDP side of the name server; what is no query is written down as a datagram.

    The address that was dialled is lost in the redirection, so such a datagram has none.
    """

    def __init__(self, server: NameServer, journal: Journal, capture: Capture, body_bytes: int) -> None:
        self._server = server
        self._capture = capture
        self._journal = journal
        self._body_bytes = body_bytes
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for answers."""
        # The event loop's class is no DatagramTransport by inheritance in Python 3.11, only by its methods.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer one query."""
        try:
            reply = self._server.answer(data, addr[1], "udp")
        except ValueError:
            self._record_garbage(data, addr[1])
            reply = wire.build_error(data, wire.FORMERR)
        self._capture.asked(addr[0], addr[1], data, reply)
        if self._transport is not None:
            self._transport.sendto(reply, addr)

    def _record_garbage(self, data: bytes, peer_port: int) -> None:
        self._journal.write(
            DatagramRecord(
                ts=time.time(),
                protocol="udp",
                ip="",
                port=53,
                peer_port=peer_port,
                payload=data[: self._body_bytes],
                size=len(data),
                truncated=len(data) > self._body_bytes,
            ),
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _reversed_address(name: str) -> str:
    if not name.endswith(_REVERSE):
        return ""
    quads = name.removesuffix(_REVERSE).split(".")
    return ".".join(reversed(quads)) if len(quads) == _QUADS else ""
