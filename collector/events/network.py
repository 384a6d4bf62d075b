"""Events of the network: what the tracer saw of sockets, and what the gateway heard."""

from __future__ import annotations

from collector.events.event import Event


class NetworkConnect(Event, frozen=True, kw_only=True, tag="network.connect"):
    """A connection was dialled (TCP), or a UDP socket given its peer."""

    ip: str
    port: int
    protocol: str = "tcp"
    host: str = ""
    """The name whose DNS answer gave `ip`, when the pod asked for one."""
    role: str = ""
    """See `HttpRequest.role`."""
    said: str = ""
    """What the gateway heard on it first: `tls`, `http`, `raw` (anything else) or `silent` (nothing); empty when no
    connection at the gateway is this one (UDP, a failed dial, a server in the pod)."""
    sent: int = 0
    """Bytes that the package sent on it, as the gateway counted them."""
    received: int = 0
    """Bytes that it was answered."""


class NetworkListen(Event, frozen=True, kw_only=True, tag="network.listen"):
    """A socket was bound to a port or began to listen."""

    ip: str
    port: int
    protocol: str = "tcp"


class NetworkAccept(Event, frozen=True, kw_only=True, tag="network.accept"):
    """A connection was accepted; both ends are in the pod, which nothing reaches from outside."""

    ip: str
    """The peer's address."""
    port: int
    protocol: str = "tcp"
    local_ip: str = ""
    local_port: int = 0


class NetworkSend(Event, frozen=True, kw_only=True, tag="network.send"):
    """A process sent the first packet outside TCP to an address, or (with `errno`) could not.

    Later ones of the same process to the same address, with the same outcome, are no events. What the packets carried
    is in `network.payload` and `dns.query`.
    """

    ip: str
    port: int
    protocol: str = "udp"
    host: str = ""
    """See `NetworkConnect.host`."""
    role: str = ""
    """See `HttpRequest.role`."""
    size: int = 0
    """Bytes of this packet."""


class NetworkUnix(Event, frozen=True, kw_only=True, tag="network.unix"):
    """A unix socket was dialled; abstract names begin with `@`."""

    path: str


class NetworkPayload(Event, frozen=True, kw_only=True, tag="network.payload"):
    """Bytes that left outside HTTP and DNS: raw TCP, UDP, ICMP."""

    ip: str
    port: int = 0
    protocol: str = "tcp"
    host: str = ""
    role: str = ""
    payload: str = ""
    """Decoded as UTF-8 with escapes for the rest, bounded."""
    size: int = 0
    bait: tuple[str, ...] = ()


class DnsQuery(Event, frozen=True, kw_only=True, tag="dns.query"):
    """A name was looked up, and what was answered: one event, so that a rule can speak of both."""

    name: str
    qtype: str = "A"
    answers: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    """Status of the answer: `NOERROR`, `NXDOMAIN`, ..."""
    role: str = ""
    bait: tuple[str, ...] = ()


class TlsHello(Event, frozen=True, kw_only=True, tag="tls.hello"):
    """A TLS handshake began; `completed` is false when the client did not accept our certificate."""

    ip: str
    port: int = 443
    sni: str = ""
    role: str = ""
    completed: bool = True
    bait: tuple[str, ...] = ()


class HttpRequest(Event, frozen=True, kw_only=True, tag="http.request"):
    """An HTTP request and its answer; what it carried and who answered."""

    method: str
    host: str
    target: str
    """Path and query as sent."""
    ip: str = ""
    port: int = 80
    tls: bool = False
    user_agent: str = ""
    size: int = 0
    """Bytes of body."""
    body: str = ""
    """Decoded as UTF-8 with escapes for the rest, bounded."""
    role: str = ""
    """`registry` (one of the run's registry hosts), `metadata` (a cloud metadata address), `local` (loopback) or
    empty for everything else."""
    status: int = 0
    """Status of the answer; 0 when there was none."""
    response_size: int = 0
    """Bytes of the answer's body."""
    response_type: str = ""
    """The answer's media type, e.g. `text/html`, bounded; empty when it named none."""
    bait: tuple[str, ...] = ()
    """Bait found in the request, as `name/encoding`, e.g. `aws-secret-access-key/base64`."""
