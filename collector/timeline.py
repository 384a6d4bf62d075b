"""Everything that happened in a run, in order of time: the traces and the gateway's record as one list of events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from collector import dropped, gateway, limits
from collector.allowance import Allowance
from collector.attribution import attribute
from collector.bait import BaitScanner
from collector.brief import whole
from collector.capture import CAPTURE, Witness, witness
from collector.eventlog import EventLog, merged
from collector.events import AnyEvent, ProcessExec
from collector.live_processes import ProcessTableBuilder
from collector.manifest import LimitHit
from collector.network import DIALS, Explainer
from collector.processes import ProcessTable
from collector.resources import RESOURCES, Resources, read_samples
from collector.syscalls import Trace, TraceCounts, read_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collector.brief import Told
    from collector.eventlog import Ordering
    from collector.manifest import Bait, Manifest

__all__ = ["Evidence", "Timeline", "TraceCounts", "build"]


class Evidence(Protocol):
    """What is needed of an open bundle."""

    @property
    def manifest(self) -> Manifest:
        """How the run went."""

    @property
    def bait(self) -> tuple[Bait, ...]:
        """The planted secrets."""

    def has(self, name: str) -> bool:
        """Whether the bundle holds the file `name`."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of the file `name`, uncompressed, in pieces."""

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of the file `name` without newlines."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A run's events and how much of the evidence was understood."""

    events: Sequence[AnyEvent]
    """In order of time; at the same moment traces stand before the gateway, each in its own order."""
    processes: ProcessTable
    traces: dict[str, TraceCounts]
    """By phase, for phases with a trace."""
    gateway_unparsed: int = 0
    """Lines of the gateway's record that are no record."""
    gateway_limits: tuple[str, ...] = ()
    """What was not recorded or not searched because there was too much of it."""
    gateway_hits: dict[str, tuple[LimitHit, ...]] = {}
    """Limits of the gateway, by the phase in which they were reached."""
    dropped: dropped.Drops | None = None
    """What was left; its events are among `events`. None when the bundle is older than such lists."""
    capture: Witness | None = None
    """What the gateway's capture shows; None when the bundle is older than captures."""
    resources: Resources = Resources(phases={})
    """What the phases used of the machine."""
    exceeded: tuple[str, ...] = ()
    """Sentences: what there was too much of, so that not all of it was followed."""


def build(bundle: Evidence) -> Timeline:
    """Read a run's evidence.

    The same bundle always gives the same timeline.

    Args:
        bundle: An open bundle.

    Returns:
        Its events with phases, actors, roles, bait and origins filled in.

    Raises:
        BundleError: A file of the bundle cannot be read.
    """
    manifest = bundle.manifest
    allowance = Allowance()
    processes, traces = _traces(bundle, allowance)
    has_gateway = bundle.has(gateway.GATEWAY)
    log = gateway.read(bundle.lines(gateway.GATEWAY)) if has_gateway else gateway.GatewayLog()
    resources = read_samples(bundle.lines(RESOURCES) if bundle.has(RESOURCES) else (), manifest.phases)
    sends = [send for trace in traces.values() for send in trace.sends]
    connects = [event for trace in traces.values() for event in trace.connects]
    scanner = BaitScanner(bundle.bait)
    explainer = Explainer(log, manifest, scanner, connects, sends)
    answered: list[Told] = sorted(explainer.events(), key=lambda event: event.ts)
    streams: list[Iterable[list[Told]]] = [_named(trace.order, explainer, scanner) for trace in traces.values()]
    streams += [answered], [[*resources.events]]
    attributed = attribute(merged(streams), processes, manifest, allowance)
    listing = dropped.Listing(bundle.lines(dropped.DROPPED)) if bundle.has(dropped.DROPPED) else None
    events = EventLog(listing.watched(attributed) if listing else attributed)
    left = listing.drops(scanner, manifest.site_packages) if listing else None
    events.extend(left.events if left else ())
    return Timeline(
        events=events,
        processes=processes,
        traces={name: _counts(trace) for name, trace in traces.items()},
        dropped=left,
        capture=witness(bundle.chunks(CAPTURE), log) if bundle.has(CAPTURE) else None,
        gateway_unparsed=log.unparsed,
        gateway_limits=explainer.limits(),
        gateway_hits=limits.by_phase(log.losses, manifest.phases),
        resources=resources,
        exceeded=allowance.exceeded(),
    )


def _named(order: Ordering, explainer: Explainer, scanner: BaitScanner) -> Iterator[list[Told]]:
    """Name what a trace's events dial, and the bait that stands on command lines."""
    for batch in order.batches():
        # Most events are neither, and are not looked at twice.
        for place, event in enumerate(batch):
            if type(event) in DIALS:
                batch[place] = explainer.named(whole(event))
        run = [(place, event.argv) for place, event in enumerate(batch) if type(event) is ProcessExec]
        found = scanner.scan_as_it_stands([" ".join(argv).encode("utf-8", "backslashreplace") for _, argv in run])
        for (place, _), bait in zip(run, found, strict=True):
            if bait:
                batch[place] = msgspec.structs.replace(batch[place], bait=bait)
        yield batch


def _traces(bundle: Evidence, allowance: Allowance) -> tuple[ProcessTable, dict[str, Trace]]:
    """Read the traces in the order of the phases, since files written in one are executed in another."""
    phases = bundle.manifest.phases
    linger = min((phase.started for phase in phases if phase.name == "linger" and phase.started > 0), default=math.inf)
    table = ProcessTableBuilder(allowance)
    traces = {
        phase.name: read_trace(phase, phase.trace, bundle.lines(phase.trace), table, linger_started=linger)
        for phase in phases
        if phase.trace
    }
    return table.build(), traces


def _counts(trace: Trace) -> TraceCounts:
    """The counts of a trace, in which processes without a known parent count as evidence that was not understood.

    So does every line of a trace in which the phase's own command was never seen to start: nothing of it could be
    told to be the package's.
    """
    counts = trace.counts
    if trace.root_seen:
        return msgspec.structs.replace(counts, unparsed=counts.unparsed + trace.orphans, ended=trace.root_ended)
    return msgspec.structs.replace(counts, unparsed=counts.lines)
