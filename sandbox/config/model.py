"""The configuration's parts, with the range of every number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collector.verdict import VerdictName

Seconds = Annotated[int, Meta(ge=1, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of the configuration."""


class QueuePlan(Part, frozen=True, kw_only=True):
    """How submissions wait and what happens to those that got lost."""

    lease_seconds: Seconds = 30
    """A run whose worker has not been heard of for so long is given to another."""
    heartbeat_seconds: Seconds = 5
    """How often a worker says that a run of its own goes on."""
    reconcile_seconds: Seconds = 10
    """How often rows are compared with what is queued."""
    attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    """How often a run that goes wrong through no fault of the package is tried."""
    retry_seconds: Seconds = 10
    """Before such a run is tried again; twice as long each further time."""
    trickle: Annotated[int, Meta(ge=2, le=10_000)] = 10
    """Of so many runs of a worker, one is a sweep's even if more urgent ones wait."""
    escalations: Count = 10_000
    """How many may wait in the lane `escalation`; more are refused (HTTP 429, to be tried again later)."""
    manuals: Count = 10_000
    """The same for the lane `manual`."""
    sweeps: Count = 100_000
    """The same for the lane `sweep`."""


class WorkerPlan(Part, frozen=True, kw_only=True):
    """How a host runs packages."""

    slots: Annotated[int, Meta(ge=0, le=1024)] = 0
    """Runs at one time; 0 for as many as processors and memory allow."""
    grace_seconds: Seconds = 600
    """After a request to stop, how long runs may still go on before they are handed back."""
    free_mb: Annotated[int, Meta(ge=0, le=16_777_216)] = 1024
    """Nothing is begun while less than this is free for evidence, MiB."""
    pod: Literal["auto", "bubblewrap", "docker"] = "bubblewrap"
    """What isolates packages, where a submission does not say; `auto` takes the strongest that works on the host."""
    runtime: Annotated[str, Meta(max_length=64)] = ""
    """Of the Docker pod: `runc`, `runsc` or another that the engine knows."""
    profiles: tuple[str, ...] = ("pypi",)
    """Names or paths of the profiles that may be asked for; the first is the default."""


class TrustedProxy(Part, frozen=True, kw_only=True):
    """A proxy that signs people on and says in headers who they are. Any other peer's headers are ignored."""

    peers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    """Addresses or networks (`10.0.0.7`, `10.1.0.0/24`) from which requests come that may carry the headers."""
    user_header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "X-Forwarded-User"
    """Name of the person."""
    groups_header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "X-Forwarded-Groups"
    """Comma-separated groups of the person."""
    roles: dict[str, Literal["submit", "analyst", "admin"]] = {}
    """Role that a group has; the highest counts, and who has none is refused."""


class ApiPlan(Part, frozen=True, kw_only=True):
    """How the HTTP interface is offered."""

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on. It speaks HTTP: put a proxy that speaks TLS before it."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8041
    """0 for any that is free."""
    upload_mb: Annotated[int, Meta(ge=1, le=16_384)] = 512
    """Largest upload, MiB."""
    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 1200
    """Of one token, by one server; a tenth of it may come at once. Each submission of a batch counts."""
    streams_per_token: Annotated[int, Meta(ge=1, le=256)] = 32
    """Streams of events that one token may have open at one server, which has 256 for all together."""
    trusted_proxy: TrustedProxy | None = None


class WebhookReceiver(Part, frozen=True, kw_only=True):
    """Who may be told the end of submissions."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    """Everything that is told goes to this URL or below it, to no other host, port or path."""
    secret_file: Annotated[str, Meta(min_length=1)]
    """File that holds the secret with which messages are signed."""


Days = Annotated[int, Meta(ge=0, le=36_500)]


class RetentionPlan(Part, frozen=True, kw_only=True):
    """How long evidence is kept; `fumehood store prune` removes the rest.

    Rows stay, and so does the evidence of runs that somebody has labelled.
    """

    clean_days: Days = 90
    """Days after which evidence of clean runs may go; 0 for never."""
    inconclusive_days: Days = 90
    """The same for inconclusive runs."""
    suspicious_days: Days = 730
    """The same for suspicious runs."""
    malicious_days: Days = 0
    """The same for malicious runs."""
    upload_days: Days = 30
    """Days after which an upload may go that nobody waits for; until then it can be run again. 0 for never."""
    most_gb: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """GiB that all evidence may take; what is clean goes first, then inconclusive, then suspicious, the oldest first,
    and nothing malicious. 0 for no bound."""

    def days(self, verdict: VerdictName) -> int:
        """Days after which evidence of runs with that verdict may go; 0 for never."""
        match verdict:
            case "clean":
                return self.clean_days
            case "inconclusive":
                return self.inconclusive_days
            case "suspicious":
                return self.suspicious_days
            case "malicious":
                return self.malicious_days


class Configuration(Part, frozen=True, kw_only=True):
    """Everything; every key has a default that works on one machine."""

    data: Path
    """Directory of what is kept on this machine: the embedded database, Redis and evidence."""
    database: str
    """`sqlite:///PATH` or `postgresql://…`."""
    redis: str
    """`unix://PATH`, `redis://…` or `rediss://…`; empty for the embedded one below `data`."""
    evidence: str
    """A directory, or `s3://BUCKET/PREFIX`."""
    uploads: Path
    """Directory of uploaded artefacts, by digest."""
    queue: QueuePlan = QueuePlan()
    worker: WorkerPlan = WorkerPlan()
    api: ApiPlan = ApiPlan()
    retention: RetentionPlan = RetentionPlan()
    webhooks: tuple[WebhookReceiver, ...] = ()
    """None: a submission that names a webhook is refused."""


class ConfigurationFile(Part, frozen=True, kw_only=True):
    """What is kept where; every key has a default that works on one machine."""

    data: str | None = None
    """Directory of what is kept on this machine: the embedded database, Redis, evidence, uploads."""
    database: str | None = None
    """`sqlite:///PATH`, or `postgresql://USER@HOST/NAME` (extra `postgresql`)."""
    redis: str | None = None
    """`unix://PATH`, `redis://…`, or `rediss://…` for TLS, as redis-py reads them."""
    evidence: str | None = None
    """Where sealed bundles go: a directory, or `s3://BUCKET/PREFIX` (extra `s3`)."""
    queue: QueuePlan = QueuePlan()
    worker: WorkerPlan = WorkerPlan()
    api: ApiPlan = ApiPlan()
    retention: RetentionPlan = RetentionPlan()
    webhooks: tuple[WebhookReceiver, ...] = ()
