"""Turns the gateway's records into network events: with phase, process, role, and the bait they carried."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from collector import pieces
from collector.clock import PhaseClock
from collector.events import AnyEvent, DnsQuery, HttpRequest, NetworkConnect, NetworkPayload, NetworkSend, TlsHello
from collector.gateway import address
from collector.labels import MAX_NAMES
from collector.owners import Owners
from collector.pieces import of_payload, of_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.bait import BaitScanner
    from collector.gateway import GatewayLog, Located
    from collector.manifest import Manifest
    from collector.owners import Send
    from collector.pieces import Parts
    from collector.records import ConnectionRecord, DatagramRecord, DnsRecord, HttpRecord, RawRecord, TlsRecord

MAX_TEXT: Final = 4096
"""Characters of a body or payload that an event holds; bait is searched in all that was recorded."""
MAX_TYPE: Final = 200
"""Characters of an answer's media type."""
UNJOINED: Final = "names-joined"
"""The limit that is named when more names were asked for than are searched for bait in pieces."""
_SAID: Final = frozenset({"tls", "http", "raw", "silent"})
_METADATA: Final = frozenset(
    {
        # Most clouds; containers' and pods' own credentials; two clouds with an address of their own.
        *("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"),
        *("100.100.100.200", "192.0.0.192"),
        *("metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"),
    }
)
"""Addresses and names of cloud metadata services. None of them leads out of a cloud's own network."""
_SERVED: Final = "registry"
DIALS: Final = (NetworkConnect, NetworkSend)
"""Events of traces that name another machine."""
_Message = TypeVar("_Message", bound=HttpRequest | NetworkPayload)


class Roles:
    """What a peer is to the run."""

    def __init__(self, registry_hosts: Iterable[str]) -> None:
        """Take the hosts that counted as the registry."""
        self._registry = frozenset(host.lower().rstrip(".") for host in registry_hosts) - {""}

    def of(self, host: str, ip: str = "") -> str:
        """Name the role of a peer.

        Args:
            host: The name that was used, empty when unknown.
            ip: The address that was dialled, empty when unknown.

        Returns:
            `registry`, `metadata`, `local` or nothing.
        """
        host, ip = host.lower().rstrip("."), address(ip)
        if {host, ip} & _METADATA:
            return "metadata"
        if host in self._registry:
            return "registry"
        return "local" if _is_loopback(ip or host) else ""


class Names:
    """The names whose DNS answers gave an address, in order of time."""

    def __init__(self, questions: Iterable[DnsRecord]) -> None:
        """Take the gateway's answers, in order of time."""
        self._given: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        for record in questions:
            for answer in record.answers:
                self._given[address(answer)].append((record.ts, record.name))

    def at(self, ip: str, ts: float) -> str:
        """The name that last gave `ip` before `ts`; empty when none did."""
        given = self._given.get(address(ip), [])
        at = bisect_right(given, ts, key=lambda pair: pair[0]) - 1
        return given[at][1] if at >= 0 else ""


class Explainer:
    """Makes events of one run's gateway records."""

    def __init__(
        self,
        log: GatewayLog,
        manifest: Manifest,
        scanner: BaitScanner,
        connects: Sequence[NetworkConnect],
        sends: Iterable[Send],
    ) -> None:
        """Prepare the joins.

        Args:
            log: The gateway's records.
            manifest: For phases and registry hosts.
            scanner: For the run's bait.
            connects: Traced connects.
            sends: Traced sends.
        """
        self._log = log
        self._scanner = scanner
        self._joined = True
        self._clock = PhaseClock(manifest.phases)
        self._roles = Roles(manifest.registry_hosts)
        self._names = Names(located.record for located in log.dns)
        self._connections = {located.record.conn: located.record for located in log.connections}
        self._owners = Owners(connects, sends, [located.record for located in log.connections])

    def events(self) -> list[AnyEvent]:
        """Give one event for each question, hello, request and payload, in no particular order."""
        names = self._scanner.scan_labels([located.record.sent or located.record.name for located in self._log.dns])
        hellos = self._scanner.scan_labels([located.record.sni for located in self._log.tls])
        http, datagrams = self._log.http, self._log.datagrams
        raw = [located for located in self._log.raw if located.record.size or located.record.payload]
        return [
            *(self._question(located, bait) for located, bait in zip(self._log.dns, names, strict=True)),
            *(self._hello(located, bait) for located, bait in zip(self._log.tls, hellos, strict=True)),
            *self._together([*map(self._request, http)], [of_request(item.record) for item in http]),
            *self._together([*map(self._payload, raw)], [of_payload(item.record.payload) for item in raw]),
            *self._together([*map(self._datagram, datagrams)], [of_payload(item.record.payload) for item in datagrams]),
        ]

    def limits(self) -> tuple[str, ...]:
        """Give the limits that were hit, the gateway's and ours, sorted."""
        names = {located.record.name for located in self._log.dns}
        found = {*self._log.limits, *([UNJOINED] if len(names) > MAX_NAMES else [])}
        if not self._joined:
            found.add("more was sent in pieces than is put together to look for bait")
        if number := self._scanner.unfinished:
            what = "messages or files unpack" if number > 1 else "message or file unpacks"
            found.add(f"{number} {what} to more than is searched for bait")
        return tuple(sorted(found))

    def _together(self, events: Sequence[_Message], parts: Sequence[Parts]) -> list[_Message]:
        """Add to each message the bait that only it and others of its peer, or of its process, hold together."""
        groups = [((event.host, event.ip, event.port), *([event.pid] if event.pid else [])) for event in events]
        found = pieces.search(list(map(pieces.Message, groups, parts)), self._scanner)
        self._joined &= found.whole
        return [
            msgspec.structs.replace(event, bait=tuple(sorted({*event.bait, *more}))) if more else event
            for event, more in zip(events, found.bait, strict=True)
        ]

    def named(self, event: AnyEvent) -> AnyEvent:
        """Fill in the host and role of a traced connect or packet, and what the gateway saw of the connection.

        Args:
            event: As the trace shows it.

        Returns:
            The event with the name that gave its address, when one did; others as they are.
        """
        if not isinstance(event, DIALS):
            return event
        host = self._names.at(event.ip, event.ts)
        named = msgspec.structs.replace(event, host=host, role=self._roles.of(host, event.ip))
        record = self._owners.connection_of(event) if isinstance(event, NetworkConnect) else None
        if record is None or not isinstance(named, NetworkConnect):
            return named
        said = record.protocol if record.protocol in _SAID else "raw"
        return msgspec.structs.replace(named, said=said, sent=record.received, received=record.sent)

    def _question(self, located: Located[DnsRecord], bait: tuple[str, ...]) -> AnyEvent:
        record = located.record
        return DnsQuery(
            ts=record.ts,
            phase=self._clock.at(record.ts),
            pid=self._owners.of_question(record),
            source=located.source,
            name=record.name,
            qtype=record.qtype,
            answers=record.answers,
            rcode=record.rcode,
            role=self._roles.of(record.name),
            bait=bait,
        )

    def _hello(self, located: Located[TlsRecord], bait: tuple[str, ...]) -> AnyEvent:
        record = located.record
        ip, port = self._peer(record.conn)
        return TlsHello(
            ts=record.ts,
            phase=self._clock.at(record.ts),
            pid=self._owners.of_connection(record.conn),
            source=located.source,
            ip=ip,
            port=port or 443,
            sni=record.sni,
            role=self._roles.of(record.sni or self._names.at(ip, record.ts), ip),
            completed=record.completed,
            bait=bait,
        )

    def _request(self, located: Located[HttpRecord]) -> HttpRequest:
        record = located.record
        ip, port = self._peer(record.conn)
        role = self._roles.of(record.host, ip)
        if role == "registry" and record.served_by != _SERVED:
            # What the registry's proxy did not answer went to the sinkhole, whatever host it named.
            role = ""
        agents = [value for name, value in record.headers if name.lower() == "user-agent"]
        return HttpRequest(
            ts=record.ts,
            phase=self._clock.at(record.ts),
            pid=self._owners.of_connection(record.conn),
            source=located.source,
            method=record.method,
            host=record.host,
            target=record.target,
            ip=ip,
            port=port or (443 if record.tls else 80),
            tls=record.tls,
            user_agent=agents[0] if agents else "",
            size=record.size,
            body=_text(record.body),
            role=role,
            status=record.status,
            response_size=record.response_size,
            response_type=record.response_type[:MAX_TYPE],
            bait=self._scanner.scan(_head(record), record.body),
        )

    def _payload(self, located: Located[RawRecord]) -> NetworkPayload:
        record = located.record
        ip, port = self._peer(record.conn)
        return NetworkPayload(
            ts=record.ts,
            phase=self._clock.at(record.ts),
            pid=self._owners.of_connection(record.conn),
            source=located.source,
            ip=ip,
            port=port,
            host=self._names.at(ip, record.ts),
            role=self._payload_role(ip, record.ts),
            payload=_text(record.payload),
            size=record.size,
            bait=self._scanner.scan(record.payload),
        )

    def _datagram(self, located: Located[DatagramRecord]) -> NetworkPayload:
        record = located.record
        return NetworkPayload(
            ts=record.ts,
            phase=self._clock.at(record.ts),
            pid=self._owners.of_datagram(record),
            source=located.source,
            ip=record.ip,
            port=record.port,
            protocol=record.protocol,
            host=self._names.at(record.ip, record.ts),
            role=self._payload_role(record.ip, record.ts),
            payload=_text(record.payload),
            size=record.size,
            bait=self._scanner.scan(record.payload),
        )

    def _payload_role(self, ip: str, ts: float) -> str:
        role = self._roles.of(self._names.at(ip, ts), ip)
        # Only requests that the proxy served are the registry's; other bytes sent there are not excused by the name.
        return "" if role == "registry" else role

    def _peer(self, conn: int) -> tuple[str, int]:
        record: ConnectionRecord | None = self._connections.get(conn)
        return (record.ip, record.port) if record else ("", 0)


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return peer == "localhost"


def _text(data: bytes) -> str:
    return data[: 4 * MAX_TEXT].decode("utf-8", "backslashreplace")[:MAX_TEXT]


def _head(record: HttpRecord) -> bytes:
    """All that a request carried before its body, each part in a line of its own."""
    lines = [record.method, record.host, record.target, *(f"{name}: {value}" for name, value in record.headers)]
    return "\r\n".join(lines).encode()
