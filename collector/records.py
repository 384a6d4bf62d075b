"""What the gateway and the registry proxy write down: one JSON object a line, raw and unexplained.

The gateway (in `sandbox`) encodes these structs; the collector decodes them. `ts` is always seconds since
the epoch on the clock that the tracer uses too. Payloads are bytes (base64 in JSON), bounded by the writer,
which says so in `truncated` and gives the full `size`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", omit_defaults=True):
    """What all records share."""

    ts: float


class DnsRecord(Record, frozen=True, kw_only=True, tag="dns"):
    """One question and the answer that the gateway made up."""

    peer_port: int
    transport: str
    """`udp` or `tcp`."""
    name: str
    """Lower case, without the final dot; bytes outside printable ASCII as `\\xNN`."""
    sent: str = ""
    """The name with its capitals, where it was sent with any: they carry a part of what base64 says."""
    qtype: str
    """`A`, `AAAA`, `TXT`, ... or `TYPE65`."""
    rcode: str = "NOERROR"
    answers: tuple[str, ...] = ()


class ConnectionRecord(Record, frozen=True, kw_only=True, tag="connection"):
    """A TCP connection, written when it ends (or when the gateway stops)."""

    conn: int
    """Number of the connection, from 1, unique in the run."""
    peer_port: int
    ip: str
    """The address the package dialled (SO_ORIGINAL_DST), not the gateway's."""
    port: int
    protocol: str
    """What the first bytes looked like: `tls`, `http`, `raw`, or `silent` when none came."""
    received: int = 0
    sent: int = 0
    ended: float = 0.0
    error: str = ""


class TlsRecord(Record, frozen=True, kw_only=True, tag="tls"):
    """A TLS hello and whether the client accepted our certificate."""

    conn: int
    sni: str = ""
    alpn: tuple[str, ...] = ()
    completed: bool = True
    error: str = ""


class HttpRecord(Record, frozen=True, kw_only=True, tag="http"):
    """One HTTP/1.1 request with what was answered."""

    conn: int
    tls: bool
    method: str
    host: str
    """The Host header (or absolute target's authority) without the port; else the dialled address."""
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    size: int = 0
    """Bytes of body the client sent."""
    truncated: bool = False
    served_by: str = "sinkhole"
    """`registry`, `metadata` (the cloud metadata service) or `sinkhole`."""
    status: int = 0
    response_size: int = 0
    response_sha256: str = ""
    response_type: str = ""
    """Content-Type of the answer."""


class RawRecord(Record, frozen=True, kw_only=True, tag="raw"):
    """Bytes of a TCP connection that is neither TLS nor HTTP (or what TLS carried, when that is not HTTP)."""

    conn: int
    payload: bytes = b""
    size: int = 0
    truncated: bool = False
    answered: bytes = b""


class DatagramRecord(Record, frozen=True, kw_only=True, tag="datagram"):
    """A packet that is neither TCP nor DNS: UDP, ICMP or raw IP, as seen on the pod's only interface."""

    protocol: str
    """`udp`, `icmp`, `icmpv6` or the protocol's number."""
    ip: str
    port: int = 0
    peer_port: int = 0
    payload: bytes = b""
    size: int = 0
    truncated: bool = False


class LimitRecord(Record, frozen=True, kw_only=True, tag="limit"):
    """The gateway stopped recording something because a bound was reached."""

    what: str


class LossRecord(Record, frozen=True, kw_only=True, tag="loss"):
    """How much the gateway did not record or answer, since `ts` and for about a second."""

    name: str
    """The limit: `gateway-bytes` or `connections`."""
    limit: int
    """What it allows: bytes of records in the run, or connections open at one time."""
    count: int
    """Records not written, or connections closed unread."""
    size: int = 0
    """Bytes of the records not written."""


class CaptureRecord(Record, frozen=True, kw_only=True, tag="capture"):
    """What the capture holds."""

    packets: int
    omitted: int
    """Packets left out because it had reached its bound."""
    ports: tuple[int, ...]
    """The gateway's own, to which what is dialled is redirected."""


class EndRecord(Record, frozen=True, kw_only=True, tag="end"):
    """The gateway ended in order. The last record; without it the file tells less than there was."""

    records: int
    """Records before this one."""


GatewayRecord: TypeAlias = (
    DnsRecord
    | ConnectionRecord
    | TlsRecord
    | HttpRecord
    | RawRecord
    | DatagramRecord
    | LimitRecord
    | LossRecord
    | CaptureRecord
    | EndRecord
)


class ProxyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request that reached the worker's registry proxy."""

    ts: float
    method: str
    url: str
    status: int
    size: int = 0
    sha256: str = ""
    cached: bool = False
    refused: str = ""
    """Why the proxy would not ask the registry, or `failed: ...` when asking went wrong; empty when it was answered."""
