"""What the endpoints work with, made once when the server starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from redis import Redis
from sqlalchemy import Engine

from collector.sigma.load import rules_digest
from sandbox.api.rates import Rates
from sandbox.api.single_sign_on import SingleSignOn
from sandbox.config import Configuration
from sandbox.database import open_database
from sandbox.evidence import EvidenceStore, open_evidence
from sandbox.profile import Profile, load_profile
from sandbox.queue import connect, enqueue_or_leave
from sandbox.resources import rules_directory
from sandbox.submissions.model import Submission
from sandbox.webhooks.receivers import Receiver, load_receivers

_INSPECTED_AT_ONCE: Final = 2
"""An archive that is honest and large takes seconds of a processor."""
_PACKED_AT_ONCE: Final = 2
_PATIENCE_S: Final = 5.0
"""For a lock that somebody else has in the database; then the answer is 503. Whoever asks can ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything that a request may need."""

    configuration: Configuration
    engine: Engine
    profiles: Mapping[str, Profile]
    """Those that may be asked for, by name; the first is the default."""
    rules_sha256: str
    evidence: EvidenceStore
    receivers: tuple[Receiver, ...]
    """Who may be told the end of submissions."""
    redis: Redis | None
    """None when there is none here: what is submitted waits for a worker that has one."""
    clock: Callable[[], float] = time.time
    """UTC seconds since the epoch."""
    single_sign_on: SingleSignOn
    rates: Rates
    inspecting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_INSPECTED_AT_ONCE))
    """Held while an upload is looked into."""
    packing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PACKED_AT_ONCE))
    """Held while evidence is packed, into a temporary file of its size."""
    stopping: Callable[[], bool] = bool
    """Whether the server is about to end: streams do not keep it."""

    def enqueue(self, submission: Submission) -> None:
        """Tell workers of a committed submission. Never raises: the reconciler finds what they have missed."""
        if self.redis is not None:
            enqueue_or_leave(self.redis, [submission])


def open_service(configuration: Configuration, stopping: Callable[[], bool] = bool) -> Service:
    """Load what the endpoints need. Nothing is asked of database and queue yet.

    Raises:
        SandboxError: The configuration names a database or a profile that cannot be.
        RuleError: The shipped rules cannot be read.
    """
    profiles = [load_profile(name) for name in configuration.worker.profiles]
    return Service(
        configuration=configuration,
        engine=open_database(configuration.database, patience_s=_PATIENCE_S),
        profiles={profile.name: profile for profile in profiles},
        rules_sha256=rules_digest(rules_directory()),
        evidence=open_evidence(configuration.evidence),
        receivers=load_receivers(configuration.webhooks),
        single_sign_on=SingleSignOn(configuration.api.trusted_proxy),
        rates=Rates(configuration.api.requests_per_minute),
        redis=connect(configuration) if configuration.redis else None,
        stopping=stopping,
    )


def of(request: Request) -> Service:
    """The service of the application that a request came to."""
    return cast("Service", request.app.state.service)


ServiceNeeded = Annotated[Service, Depends(of)]
