"""What a package tried on the network: equal attempts together, with a count, bounded, never silently cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

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

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def network(events: Iterable[AnyEvent], redactor: Redactor, *, unparsed: int, limits: tuple[str, ...]) -> Network:
    """Gather the attempts among `events`, which are in order of time."""
    kept = [event for event in events if isinstance(event, _KINDS)]
    explained = _explained(kept)
    dns, dns_left = _rows(_dns(event, redactor) for event in kept if isinstance(event, DnsQuery))
    http, http_left = _rows(_http(event, redactor) for event in kept if isinstance(event, HttpRequest))
    tls, tls_left = _rows(_tls(event, redactor) for event in kept if isinstance(event, TlsHello))
    other, other_left = _rows(
        _other(event, redactor)
        for event in kept
        if isinstance(event, NetworkListen | NetworkUnix | NetworkPayload)
        or (isinstance(event, NetworkConnect) and (event.phase, event.ip, event.port) not in explained)
    )
    omitted = Omitted(dns=dns_left, http=http_left, tls=tls_left, other=other_left)
    return Network(dns=dns, http=http, tls=tls, other=other, omitted=omitted, unparsed=unparsed, limits=limits)


_DNS_PORT: Final = 53
_KINDS: Final = (DnsQuery, HttpRequest, TlsHello, NetworkConnect, NetworkListen, NetworkPayload, NetworkUnix)


def _explained(events: Sequence[AnyEvent]) -> set[_Place]:
    """Places of which another row tells what was sent there, so that the connection itself adds nothing."""
    asked = {event.phase for event in events if isinstance(event, DnsQuery)}
    return {
        (event.phase, event.ip, event.port)
        for event in events
        if isinstance(event, HttpRequest | TlsHello | NetworkPayload)
        or (isinstance(event, NetworkConnect) and event.port == _DNS_PORT and event.phase in asked)
    }


def _rows(attempts: Iterable[_A]) -> tuple[tuple[_A, ...], int]:
    """Merge equal attempts; of more than `MOST` rows keep those with bait first, then those to strangers."""
    merged: dict[Attempt, _A] = {}
    pids: dict[Attempt, set[int]] = {}
    for attempt in attempts:
        key = _identity(attempt)
        pids.setdefault(key, set()).add(attempt.pid)
        earlier = merged.get(key)
        merged[key] = attempt if earlier is None else _plus(earlier, attempt)
    rows = [msgspec.structs.replace(row, processes=len(pids[key])) for key, row in merged.items()]
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
        kind=str(type(event).__struct_config__.tag),
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
