"""Who sent it: joins what the gateway saw with the system calls that caused it.

The gateway sees addresses, names and bytes but no process; the trace sees processes but not what an encrypted
connection carried. A process that cannot be told is 0, never a guess among strangers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from collector.gateway import address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.events import NetworkConnect
    from collector.records import ConnectionRecord, DatagramRecord, DnsRecord

DNS_PORT: Final = 53
_SLACK: Final = 0.005
"""Seconds by which the gateway's record may seem older than the call: two processes read the clock."""
_ACCEPT: Final = 2.0
"""Seconds from a connect to its accept on a busy machine; an older connect is taken only for want of another."""
_ANSWER: Final = 10.0
"""Seconds from a question's sending to the gateway's record of it."""
_DNS_HEADER: Final = 12
_MAX_NAME: Final = 255
_UNDER_WAY: Final = frozenset({"", "EINPROGRESS", "EINTR", "UNFINISHED"})
"""Results of a connect that the gateway goes on to accept."""
_ESCAPED: Final = re.compile(rb"\\x([0-9a-f]{2})", re.IGNORECASE)


class Send(Protocol):
    """A traced call that sent bytes."""

    @property
    def pid(self) -> int:
        """The sending process."""

    @property
    def ts(self) -> float:
        """Seconds since the epoch."""

    @property
    def ip(self) -> str:
        """The peer, when the trace shows it."""

    @property
    def port(self) -> int:
        """The peer's port, 0 when unknown."""

    @property
    def payload(self) -> bytes:
        """The bytes, perhaps cut."""


class _Moments:
    """Processes by the moment they did something, in order of time."""

    def __init__(self) -> None:
        self._ts: list[float] = []
        self._pids: list[int] = []

    def add(self, ts: float, pid: int) -> None:
        self._ts.append(ts)
        self._pids.append(pid)

    def latest(self, ts: float, within: float) -> int:
        """The last process at or before `ts` (with slack), not earlier than `within` seconds; 0 for none."""
        at = bisect_right(self._ts, ts + _SLACK) - 1
        return self._pids[at] if at >= 0 and self._ts[at] >= ts - within else 0


class Owners:
    """The processes behind the gateway's records."""

    def __init__(
        self, connects: Iterable[NetworkConnect], sends: Iterable[Send], connections: Sequence[ConnectionRecord]
    ) -> None:
        """Prepare the joins.

        Args:
            connects: Traced connects.
            sends: Traced sends.
            connections: The gateway's connections.
        """
        ordered = sorted(connects, key=lambda event: event.ts)
        dialled = [event for event in ordered if event.protocol != "udp" and event.errno in _UNDER_WAY]
        self._connections = _paired(connections, dialled)
        # Not by identity: events that were put aside come back as others. Each has a line of its own.
        self._records = {
            self._connections[record.conn]: record for record in connections if record.conn in self._connections
        }
        self._questions: defaultdict[bytes, _Moments] = defaultdict(_Moments)
        self._payloads: defaultdict[tuple[str, int, bytes], _Moments] = defaultdict(_Moments)
        self._peers: defaultdict[tuple[str, int], _Moments] = defaultdict(_Moments)
        self._resolvers = _Moments()
        moments: list[tuple[float, int, str, int, bytes]] = [
            *(
                (event.ts, event.pid, event.ip, event.port, b"")
                for event in ordered
                if event.protocol == "udp" and event.port != DNS_PORT
            ),
            *((event.ts, event.pid, event.ip, event.port, b"") for event in ordered if event.port == DNS_PORT),
            *((send.ts, send.pid, send.ip, send.port, send.payload) for send in sends),
        ]
        for ts, pid, ip, port, payload in sorted(moments):
            self._add(ts, pid, (address(ip), port), payload)

    def of_connection(self, conn: int) -> int:
        """The process that dialled a connection, by the gateway's number of it; 0 when unknown."""
        connect = self._connections.get(conn)
        return 0 if connect is None else connect.pid

    def connection_of(self, connect: NetworkConnect) -> ConnectionRecord | None:
        """What the gateway saw of a traced connect; None when no connection of its is that one."""
        return self._records.get(connect)

    def of_question(self, record: DnsRecord) -> int:
        """The process that asked: the one that sent this very name, else the last one that spoke to a resolver."""
        moments = self._questions.get(wire_name(record.name))
        by_name = moments.latest(record.ts, _ANSWER) if moments else 0
        return by_name or self._resolvers.latest(record.ts, _ACCEPT)

    def of_datagram(self, record: DatagramRecord) -> int:
        """The process that sent a packet: the one that sent these bytes there, else the last one that sent there."""
        peer = (address(record.ip), record.port)
        for key in ((*peer, record.payload), (*peer, b"")):
            moments = self._payloads.get(key) if key[2] else self._peers.get(peer)
            if moments and (pid := moments.latest(record.ts, _ANSWER)):
                return pid
        return 0

    def _add(self, ts: float, pid: int, peer: tuple[str, int], payload: bytes) -> None:
        self._peers[peer].add(ts, pid)
        if payload:
            self._payloads[(*peer, payload)].add(ts, pid)
        if peer[1] == DNS_PORT:
            self._resolvers.add(ts, pid)
        # Over TCP a length of two bytes stands before the message.
        for start in (_DNS_HEADER, _DNS_HEADER + 2):
            if name := _name_at(payload, start):
                self._questions[name].add(ts, pid)


def wire_name(name: str) -> bytes:
    r"""Write a name as it stands in a DNS message: each label after its length, then a zero.

    Args:
        name: As the gateway writes it: lower case, bytes outside printable ASCII as `\xNN`.

    Returns:
        The bytes; empty when it cannot be written so.
    """
    raw = [_ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), label.encode()) for label in name.split(".") if label]
    if any(len(label) > 63 for label in raw):  # noqa: PLR2004 - the longest label
        return b""
    return b"".join(bytes([len(label)]) + label for label in raw) + b"\0"


def _name_at(payload: bytes, start: int) -> bytes:
    """The name in lower case that stands in a message at `start`; empty when none does."""
    at = start
    while at < len(payload) and at - start < _MAX_NAME:
        length = payload[at]
        if length == 0:
            return payload[start : at + 1].lower() if at > start else b""
        if length > 63:  # noqa: PLR2004 - the longest label
            return b""
        at += 1 + length
    return b""


def _paired(connections: Sequence[ConnectionRecord], connects: Sequence[NetworkConnect]) -> dict[int, NetworkConnect]:
    """The connect of each connection: for each address the first accept goes to the first connect still free.

    A connect whose accept never came would shift all later pairs, so free connects that are too old are passed over.
    """
    free: defaultdict[tuple[str, int], list[NetworkConnect]] = defaultdict(list)
    for connect in connects:
        free[address(connect.ip), connect.port].append(connect)
    owners: dict[int, NetworkConnect] = {}
    for record in sorted(connections, key=lambda record: (record.ts, record.conn)):
        waiting = free[address(record.ip), record.port]
        earlier = bisect_right(waiting, record.ts + _SLACK, key=lambda connect: connect.ts)
        young = bisect_right(waiting, record.ts - _ACCEPT, key=lambda connect: connect.ts)
        if earlier:
            chosen = young if young < earlier else earlier - 1
            owners[record.conn] = waiting[chosen]
            # What is older than the chosen one was given up, so that each list is walked through once.
            del waiting[: chosen + 1]
    return owners
