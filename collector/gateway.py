"""Reads what the gateway wrote down: records with their lines, tolerant of lines that are none."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from collector.events import Source
from collector.records import (
    CaptureRecord,
    ConnectionRecord,
    DatagramRecord,
    DnsRecord,
    EndRecord,
    GatewayRecord,
    HttpRecord,
    LimitRecord,
    LossRecord,
    RawRecord,
    TlsRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GATEWAY: Final = "gateway.jsonl.zst"
"""Name of the gateway's record in a bundle."""

_R = TypeVar("_R", bound=GatewayRecord)


@dataclass(frozen=True, slots=True)
class Located(Generic[_R]):
    """A record and where it stands."""

    record: _R
    source: Source


@dataclass(frozen=True, slots=True)
class GatewayLog:
    """All records of a run by type, each in order of time."""

    dns: tuple[Located[DnsRecord], ...] = ()
    connections: tuple[Located[ConnectionRecord], ...] = ()
    tls: tuple[Located[TlsRecord], ...] = ()
    http: tuple[Located[HttpRecord], ...] = ()
    raw: tuple[Located[RawRecord], ...] = ()
    datagrams: tuple[Located[DatagramRecord], ...] = ()
    limits: tuple[str, ...] = ()
    """What is missing in the record, sorted, each once."""
    losses: tuple[LossRecord, ...] = ()
    """How much is missing, and since when."""
    capture: CaptureRecord | None = None
    """What the capture holds, as the gateway says; None in older bundles."""
    unparsed: int = 0
    """Lines that are no record."""


def read(lines: Iterable[bytes], file: str = GATEWAY) -> GatewayLog:
    """Read the gateway's record.

    Args:
        lines: Its lines, without newlines.
        file: Its name in the bundle, for the sources of the records.

    Returns:
        The records; what is no record is counted.
    """
    decoder = msgspec.json.Decoder(GatewayRecord)
    records: list[Located[GatewayRecord]] = []
    unparsed = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(Located(decoder.decode(line), Source(file, number)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            unparsed += 1
    # The gateway writes a connection when it ends, so the file is not in order of time.
    records.sort(key=lambda located: located.record.ts)
    return GatewayLog(
        dns=_only(records, DnsRecord),
        connections=_only(records, ConnectionRecord),
        tls=_only(records, TlsRecord),
        http=_only(records, HttpRecord),
        raw=_only(records, RawRecord),
        datagrams=_only(records, DatagramRecord),
        limits=tuple(sorted({*(limit.record.what for limit in _only(records, LimitRecord)), *_missing(records)})),
        losses=tuple(located.record for located in _only(records, LossRecord)),
        capture=next((located.record for located in _only(records, CaptureRecord)), None),
        unparsed=unparsed,
    )


def _missing(records: list[Located[GatewayRecord]]) -> Iterator[str]:
    """Say what the record itself shows to be missing: its end, lines, or parts of what was sent."""
    ends = _only(records, EndRecord)
    if not ends:
        yield "it stops before the gateway ended"
    elif ends[-1].record.records != len(records) - 1:
        yield f"{len(records) - 1} of {ends[-1].record.records} records are there"
    sent = (located.record for located in records)
    if cut := sum(isinstance(record, HttpRecord | RawRecord | DatagramRecord) and record.truncated for record in sent):
        yield f"{cut} messages were longer than what is kept of one" if cut > 1 else "1 message was cut: it is too long"


def address(text: str) -> str:
    """Write an IP address in its one usual form; IPv4 inside IPv6 as IPv4.

    Args:
        text: An address, perhaps with a zone (`%lo`).

    Returns:
        The address, or `text` itself when it is none.
    """
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def _only(records: list[Located[GatewayRecord]], cls: type[_R]) -> tuple[Located[_R], ...]:
    return tuple(Located(located.record, located.source) for located in records if isinstance(located.record, cls))
