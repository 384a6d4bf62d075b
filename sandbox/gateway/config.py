"""The gateway's settings: one JSON file, decoded strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what a hostile package can make the gateway keep."""

    record_bytes: int = 64 * 1024**2
    """Bytes of gateway.jsonl; after that records are only counted."""
    body_bytes: int = 1024**2
    """Bytes kept of one message body, one raw stream or one datagram."""
    capture_bytes: int = 32 * 1024**2
    """Bytes of capture.pcapng; after that packets are only counted."""
    connections: int = 512
    """Open at the same time; more are closed at once."""
    idle_seconds: float = 5.0
    """Silence after which a connection is closed."""
    keepalive_seconds: float = 15.0
    """The same between two HTTP requests."""
    silence_seconds: float = 1.0
    """How long a peer may stay silent before the gateway speaks first."""
    connection_seconds: float = 60.0
    """Life of a connection, not counting the time the registry takes."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the cloud metadata service tells; bait."""

    role: str = "web-prod"
    """Name of the instance's role or service account."""
    document: str = "{}"
    """JSON document of the role's credentials (AWS form)."""
    token: str = ""
    """Access token of the other clouds."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the gateway process needs."""

    tcp_port: int
    """Port of the catch-all listener ([::], both families)."""
    dns_port: int
    """Port of the name server on 127.0.0.1 and ::1, UDP and TCP."""
    records: str
    """Path of gateway.jsonl, appended."""
    capture: str
    """Path of capture.pcapng, made; the keys of TLS stand beside it meanwhile."""
    scratch: str
    """Private writable directory for certificate files."""
    ca_certificate: str
    """Path of the run's authority, PEM."""
    ca_key: str
    registry_socket: str = ""
    """Unix socket of the worker's registry proxy; empty: there is no registry."""
    registry_hosts: tuple[str, ...] = ()
    """Names whose GET and HEAD go down that socket."""
    metadata: Metadata = Metadata()
    limits: Limits = Limits()
    until_eof: bool = False
    """Stop when standard input ends too: the gateway then does not outlive its worker."""


def load(path: Path) -> GatewayConfig:
    """Read the settings.

    Raises:
        msgspec.ValidationError: A key is unknown, missing or of the wrong type.
        OSError: The file cannot be read.
    """
    return msgspec.json.decode(path.read_bytes(), type=GatewayConfig)
