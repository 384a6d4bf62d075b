"""What all events share."""

from __future__ import annotations

import msgspec


class Source(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where in the bundle an event comes from."""

    file: str
    line: int


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, gc=False):
    """What all events share."""

    ts: float = 0.0
    """Seconds since the epoch."""
    phase: str
    actor: str = "target"
    """`installer`, `build-backend`, `dependency:<name>` or `target`; what is not known is `target`."""
    pid: int = 0
    """Process id as the tracer sees it, unique in the pod; 0 when unknown."""
    source: Source | None = None
    errno: str = ""
    """Name of the error (`ENOENT`) when the call failed; `SIGSYS` when the pod's filter refused it by this signal."""
