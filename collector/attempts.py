"""What a package tried on the network: equal attempts together, with a count, bounded, never silently cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from collector.events import (
    AnyEvent,
    DnsQuery,
    HttpRequest,
    NetworkConnect,
    NetworkListen,
    NetworkPayload,
    NetworkUnix,
    Source,
    TlsHello,
)
from collector.redact import excerpt
from collector.text import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.redact import Redactor

MOST: Final = 500
"""Rows of each kind that a report holds."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows share: equal attempts of a phase and an actor make one row."""

    phase: str
    actor: str
    pid: int
    """The first process that did it; 0 when unknown."""
    processes: int = 1
    """Number of different processes that did it."""
    count: int = 1
    role: str = ""
    """`registry`, `metadata`, `local`, or empty for everything else."""
    bait: tuple[str, ...] = ()
    """Planted secrets that left with it, as `name/encoding`."""
    source: Source | None = None
    """Where the first of them stands in the bundle."""


class DnsAttempt(Attempt, frozen=True, kw_only=True):
    """A name that was looked up."""

    name: str
    qtype: str
    answers: tuple[str, ...] = ()


class HttpAttempt(Attempt, frozen=True, kw_only=True):
    """A request, with or without TLS around it."""

    method: str
    host: str
    port: int
    tls: bool
    target: str
    ip: str = ""
    status: int = 0
    user_agent: str = ""
    size: int = 0
    """Bytes of body, of all requests of the row together."""
    body: str = ""
    """Beginning of the first body."""


class TlsAttempt(Attempt, frozen=True, kw_only=True):
    """A handshake; not `completed` when the client did not accept our certificate."""

    sni: str
    ip: str
    port: int
    completed: bool


class OtherAttempt(Attempt, frozen=True, kw_only=True):
    """A connection that no other row explains, a payload outside HTTP and DNS, a listening or a unix socket."""

    kind: str
    """Kind of the event, e.g. `network.payload`."""
    protocol: str = ""
    ip: str = ""
    port: int = 0
    host: str = ""
    path: str = ""
    size: int = 0
    """Bytes of payload, of all attempts of the row together."""
    payload: str = ""
    """Beginning of the first payload."""
    errno: str = ""


class Omitted(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of each kind were left out because there were more than the bound."""

    dns: int = 0
    http: int = 0
    tls: int = 0
    other: int = 0


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """All that was tried on the network, in order of first appearance."""

    dns: tuple[DnsAttempt, ...] = ()
    http: tuple[HttpAttempt, ...] = ()
    tls: tuple[TlsAttempt, ...] = ()
    other: tuple[OtherAttempt, ...] = ()
    omitted: Omitted = Omitted()
    unparsed: int = 0
    """Lines of the gateway's record that were not understood."""
    limits: tuple[str, ...] = ()
    """What the gateway stopped recording because a bound was reached."""


_A = TypeVar("_A", bound=Attempt)
_Place = tuple[str, str, int]
"""Phase, address and port."""
_DNS_PORT: Final = 53


class AttemptReader:
    """Gathers the attempts among the events of a run."""

    kinds: Final = (DnsQuery, HttpRequest, TlsHello, NetworkConnect, NetworkListen, NetworkPayload, NetworkUnix)

    def __init__(self, redactor: Redactor) -> None:
        """Begin.

        Args:
            redactor: Takes planted secrets out of what is quoted.
        """
        self._redactor = redactor
        self._dns: _Rows[DnsAttempt] = _Rows()
        self._http: _Rows[HttpAttempt] = _Rows()
        self._tls: _Rows[TlsAttempt] = _Rows()
        self._other: _Rows[OtherAttempt] = _Rows()
        self._asked: set[str] = set()
        """Phases in which a name was looked up."""
        self._told: set[_Place] = set()
        """Places of which another row tells what was sent there, so that the connection itself adds nothing."""

    def see(self, event: AnyEvent) -> None:
        """Take the next event, in order of time."""
        match event:
            case DnsQuery():
                self._asked.add(event.phase)
                self._dns.add(_dns(event, self._redactor))
            case HttpRequest():
                self._told.add((event.phase, event.ip, event.port))
                self._http.add(_http(event, self._redactor))
            case TlsHello():
                self._told.add((event.phase, event.ip, event.port))
                self._tls.add(_tls(event, self._redactor))
            case NetworkConnect() | NetworkListen() | NetworkUnix() | NetworkPayload():
                if isinstance(event, NetworkPayload):
                    self._told.add((event.phase, event.ip, event.port))
                self._other.add(_other(event, self._redactor))

    def network(self, *, unparsed: int, limits: tuple[str, ...]) -> Network:
        """Give what was gathered."""
        dns, dns_left = self._dns.most()
        http, http_left = self._http.most()
        tls, tls_left = self._tls.most()
        other, other_left = self._other.most(lambda row: not self._explains(row))
        omitted = Omitted(dns=dns_left, http=http_left, tls=tls_left, other=other_left)
        return Network(dns=dns, http=http, tls=tls, other=other, omitted=omitted, unparsed=unparsed, limits=limits)

    def _explains(self, row: OtherAttempt) -> bool:
        """Whether another row tells of this connection."""
        if row.kind != _CONNECT:
            return False
        return (row.phase, row.ip, row.port) in self._told or (row.port == _DNS_PORT and row.phase in self._asked)


_CONNECT: Final = str(NetworkConnect.__struct_config__.tag)


class _Rows(Generic[_A]):
    """Attempts, equal ones together."""

    def __init__(self) -> None:
        self._rows: dict[Attempt, _A] = {}
        self._pids: dict[Attempt, set[int]] = {}

    def add(self, attempt: _A) -> None:
        """Take another attempt."""
        key = _identity(attempt)
        self._pids.setdefault(key, set()).add(attempt.pid)
        earlier = self._rows.get(key)
        self._rows[key] = attempt if earlier is None else _plus(earlier, attempt)

    def most(self, wanted: Callable[[_A], bool] = lambda _row: True) -> tuple[tuple[_A, ...], int]:
        """Give the rows that are wanted, in order of first appearance, and how many are left out.

        Of more than `MOST` those with bait come first, then those to strangers.
        """
        rows = [
            msgspec.structs.replace(row, processes=len(self._pids[key]))
            for key, row in self._rows.items()
            if wanted(row)
        ]
        if len(rows) <= MOST:
            return tuple(rows), 0
        ranked = sorted(range(len(rows)), key=lambda number: (not rows[number].bait, bool(rows[number].role), number))
        return tuple(rows[number] for number in sorted(ranked[:MOST])), len(rows) - MOST


def _identity(attempt: Attempt) -> Attempt:
    """The attempt without what may differ inside one row."""
    same = msgspec.structs.replace(attempt, pid=0, source=None)
    match same:
        case HttpAttempt():
            return msgspec.structs.replace(same, size=0, body="")
        case OtherAttempt():
            return msgspec.structs.replace(same, size=0, payload="")
        case DnsAttempt():
            return msgspec.structs.replace(same, answers=())
        case _:
            return same


def _plus(row: _A, more: Attempt) -> _A:
    if isinstance(row, HttpAttempt | OtherAttempt) and isinstance(more, HttpAttempt | OtherAttempt):
        return msgspec.structs.replace(row, count=row.count + 1, size=row.size + more.size)
    return msgspec.structs.replace(row, count=row.count + 1)


def _dns(event: DnsQuery, redactor: Redactor) -> DnsAttempt:
    return DnsAttempt(
        phase=event.phase,
        actor=event.actor,
        pid=event.pid,
        role=event.role,
        bait=event.bait,
        source=event.source,
        name=excerpt(redactor.text(event.name)),
        qtype=event.qtype,
        answers=event.answers[:10],
    )


def _http(event: HttpRequest, redactor: Redactor) -> HttpAttempt:
    return HttpAttempt(
        phase=event.phase,
        actor=event.actor,
        pid=event.pid,
        role=event.role,
        bait=event.bait,
        source=event.source,
        method=excerpt(redactor.text(event.method)),
        host=excerpt(redactor.text(event.host)),
        port=event.port,
        tls=event.tls,
        target=excerpt(redactor.text(event.target)),
        ip=event.ip,
        status=event.status,
        user_agent=excerpt(redactor.text(event.user_agent)),
        size=event.size,
        body=excerpt(redactor.text(event.body)),
    )


def _tls(event: TlsHello, redactor: Redactor) -> TlsAttempt:
    return TlsAttempt(
        phase=event.phase,
        actor=event.actor,
        pid=event.pid,
        role=event.role,
        bait=event.bait,
        source=event.source,
        sni=excerpt(redactor.text(event.sni)),
        ip=event.ip,
        port=event.port,
        completed=event.completed,
    )


def _other(event: NetworkConnect | NetworkListen | NetworkUnix | NetworkPayload, redactor: Redactor) -> OtherAttempt:
    row = OtherAttempt(
        phase=event.phase,
        actor=event.actor,
        pid=event.pid,
        source=event.source,
        kind=kind_of(event),
        errno=event.errno,
    )
    if isinstance(event, NetworkUnix):
        return msgspec.structs.replace(row, path=excerpt(redactor.text(event.path)))
    row = msgspec.structs.replace(row, protocol=event.protocol, ip=event.ip, port=event.port)
    if isinstance(event, NetworkListen):
        return row
    row = msgspec.structs.replace(row, host=excerpt(redactor.text(event.host)), role=event.role)
    if isinstance(event, NetworkConnect):
        return row
    payload = excerpt(redactor.text(event.payload))
    return msgspec.structs.replace(row, payload=payload, size=event.size, bait=event.bait)
