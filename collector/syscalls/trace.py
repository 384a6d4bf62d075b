"""What reading one phase's trace gives."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from collector.brief import whole
from collector.eventlog import Ordering
from collector.events import NetworkConnect, Source

if TYPE_CHECKING:
    from collector.events import AnyEvent


class TraceCounts(msgspec.Struct, frozen=True):
    """How much of a trace there was and how much of it was not understood."""

    lines: int
    """Non-empty lines."""
    unparsed: int
    """Lines, or calls whose arguments, were not understood. They are evidence lost."""
    truncated: int
    """Calls of the package with a string or an argument list that the tracer had cut."""
    first_unparsed_line: int | None = None
    ended: bool = True
    """The end of the phase's own command was seen; a trace without it may have lost any number of lines."""


class Send(msgspec.Struct, frozen=True):
    """A datagram left a process (sendto, sendmsg, sendmmsg on anything but TCP)."""

    ts: float
    pid: int
    ip: str
    port: int
    protocol: str
    """`udp`, `icmp`, `raw` or `unknown`."""
    payload: bytes
    """At most 4096 bytes of it; empty once a phase has sent too much."""
    source: Source


class Trace(msgspec.Struct, frozen=True):
    """One phase's trace, read."""

    order: Ordering
    """Its events."""
    connects: tuple[NetworkConnect, ...]
    """Those of its events that dial, in order of time."""
    counts: TraceCounts
    sends: tuple[Send, ...]
    root_seen: bool
    """The phase's own command was seen to start; when false, nothing in the trace is the package's."""
    root_ended: bool
    """The end of that command was seen."""
    orphans: int = 0
    """Processes whose parent was not seen; with `root_seen` they count as the package's."""

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        """All its events in order of time, at once."""
        return tuple(map(whole, chain.from_iterable(self.order.batches())))
