"""What each phase used of the machine: samples of its processes, added up and thinned to a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from collector.events import ResourceSample, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from collector.manifest import Phase

RESOURCES: Final = "resources.jsonl.zst"
"""Name of the samples in a bundle."""
POINTS: Final = 60
"""Most points of a curve."""

_Count = Annotated[int, Meta(ge=0, le=1 << 62)]
_Seconds = Annotated[float, Meta(ge=0, le=1e11)]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the samples: what the processes of one phase used at one moment, summed over them."""

    ts: _Seconds
    """Seconds since the epoch, on the tracer's clock."""
    phase: str
    processes: _Count
    """Processes alive, without the pod's own."""
    cpu_seconds: _Seconds
    """Processor time of the phase so far, of ended processes too, as far as it can be known."""
    rss_bytes: _Count
    """Resident memory. A page that several share is counted for each."""
    read_bytes: _Count = 0
    """Bytes taken by system calls that read (files, pipes, sockets) so far; 0 where the kernel does not say."""
    written_bytes: _Count = 0
    """Bytes given to system calls that write, likewise."""


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One of the equal parts into which a phase's time is cut, where there was a sample in it."""

    seconds: float
    """End of the part, since the phase began."""
    rss_bytes: int
    """The most in this part."""
    processes: int
    """The most in this part."""
    cpu_seconds: float
    """Since the phase began, at the end of the part."""


class ResourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a phase used, survivors included."""

    samples: int
    peak_rss_bytes: int
    peak_processes: int
    cpu_seconds: float
    read_bytes: int
    written_bytes: int
    curve: tuple[CurvePoint, ...]
    """In order of time, at most 60 points. What survivors used after the phase's end is not in it."""


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What a run used."""

    phases: dict[str, ResourceReport]
    """By phase, for phases with a sample."""
    events: tuple[ResourceSample, ...] = ()
    """One for each point of the curves, in order of time."""
    unparsed: int = 0
    """Lines that are no sample, or of no phase of this run."""


class _Adding:
    """Adds up one phase's samples in memory that does not grow with their number."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase.name
        self._started = phase.started
        self._part = max(phase.ended - phase.started, 0.0) / POINTS
        self._peaks: dict[str, int] = {}
        self._cpu = 0.0
        self._samples = 0
        self._curve: dict[int, CurvePoint] = {}
        self._lines: dict[int, int] = {}

    def add(self, sample: Sample, line: int) -> None:
        self._samples += 1
        self._cpu = max(self._cpu, sample.cpu_seconds)
        for name in ("rss_bytes", "processes", "read_bytes", "written_bytes"):
            self._peaks[name] = max(self._peaks.get(name, 0), getattr(sample, name))
        # The first sample of a phase may be older than the phase by the clock's grain.
        since = max(sample.ts - self._started, 0.0)
        if since > self._part * POINTS:
            return
        number = min(int(since / self._part), POINTS - 1) if self._part else 0
        before = self._curve.get(number)
        self._curve[number] = CurvePoint(
            seconds=round((number + 1) * self._part, 3),
            rss_bytes=max(sample.rss_bytes, before.rss_bytes if before else 0),
            processes=max(sample.processes, before.processes if before else 0),
            cpu_seconds=max(round(sample.cpu_seconds, 3), before.cpu_seconds if before else 0.0),
        )
        self._lines[number] = line

    def report(self) -> ResourceReport:
        return ResourceReport(
            samples=self._samples,
            peak_rss_bytes=self._peaks["rss_bytes"],
            peak_processes=self._peaks["processes"],
            cpu_seconds=round(self._cpu, 3),
            read_bytes=self._peaks["read_bytes"],
            written_bytes=self._peaks["written_bytes"],
            curve=tuple(self._curve[number] for number in sorted(self._curve)),
        )

    def events(self) -> Iterator[ResourceSample]:
        """The points of the curve as events, each with the last line that it rests on."""
        before = CurvePoint(seconds=0.0, rss_bytes=0, processes=0, cpu_seconds=0.0)
        for number, point in sorted(self._curve.items()):
            yield ResourceSample(
                ts=self._started + point.seconds,
                phase=self._phase,
                source=Source(RESOURCES, self._lines[number]),
                processes=point.processes,
                rss_bytes=point.rss_bytes,
                cpu_ms=round(max(point.cpu_seconds - before.cpu_seconds, 0.0) * 1000),
                wall_ms=round((point.seconds - before.seconds) * 1000),
            )
            before = point


def read_samples(lines: Iterable[bytes], phases: Sequence[Phase]) -> Resources:
    """Read the samples of a run.

    Args:
        lines: One JSON object each, without newlines.
        phases: Those of the manifest.

    Returns:
        What each phase used; what is no sample is counted.
    """
    decoder = msgspec.json.Decoder(Sample)
    known = {phase.name: phase for phase in phases}
    adding: dict[str, _Adding] = {}
    unparsed = 0
    for number, line in enumerate(lines, 1):
        try:
            sample = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            unparsed += 1
            continue
        if sample.phase not in known:
            unparsed += 1
            continue
        if sample.phase not in adding:
            adding[sample.phase] = _Adding(known[sample.phase])
        adding[sample.phase].add(sample, number)
    points = (event for part in adding.values() for event in part.events())
    return Resources(
        phases={name: part.report() for name, part in adding.items()},
        events=tuple(sorted(points, key=lambda event: event.ts)),
        unparsed=unparsed,
    )
