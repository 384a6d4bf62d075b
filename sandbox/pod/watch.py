"""Watches an embedded pod while a phase runs or lingers: samples what it uses, and says which limits it meets."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from sandbox.pod import outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collector.manifest import LimitHit
    from sandbox.pod.interface import PodPlan, Sample
    from sandbox.pod.namespaces import Namespaces
    from sandbox.pod.traced import TracedPhase

SAMPLE_EVERY: Final = 0.1
"""Seconds between two samples, as long as they cost little."""
_FIRST_AFTER: Final = 0.02
"""The same at first, so that a phase of a tenth of a second has a curve too."""
_SHARE: Final = 0.1
"""Part of the time that samples may cost: with hundreds of processes they become rarer."""
_KEPT_EVERY: Final = 200
"""A phase's samples are kept at this part of its time so far, and whenever there is a new peak: a phase of an hour
leaves some thousand, not ten times as many."""
_PEAK: Final = 1.05
_DISK_FULL: Final = 64 << 10
"""Bytes free below which the pod's file system is full: nobody writes so little."""
_OWN_TASKS = 1, 3
"""Processes around each phase that the kernel counts with the package's: bubblewrap; without a uid of its own nsenter
and the tracer too."""
_MISSED = 32
"""One in so many processes may be missed in a count, as they come and go while it is made."""


class Recorder:
    """Keeps the samples that make the curve of each phase."""

    def __init__(self) -> None:
        self._kept: list[Sample] = []
        self._begun: dict[str, float] = {}
        self._next: dict[str, float] = {}
        self._peaks: dict[str, tuple[int, int]] = {}
        self._last: dict[str, Sample] = {}

    def take(self, sample: Sample) -> None:
        """Keep a sample, or drop it when it tells nothing new so soon after the one before."""
        begun = self._begun.setdefault(sample.phase, sample.ts)
        memory, processes = self._peaks.get(sample.phase, (-1, -1))
        peak = sample.rss_bytes > memory * _PEAK or sample.processes > processes * _PEAK
        self._last[sample.phase] = sample
        if not peak and sample.ts < self._next[sample.phase]:
            return
        self._peaks[sample.phase] = max(memory, sample.rss_bytes), max(processes, sample.processes)
        self._next[sample.phase] = sample.ts + max(SAMPLE_EVERY, (sample.ts - begun) / _KEPT_EVERY) * 0.9
        self._kept.append(self._last.pop(sample.phase))

    def samples(self) -> tuple[Sample, ...]:
        """All that were kept, and the last of each phase, in order of time."""
        return tuple(sorted((*self._kept, *self._last.values()), key=lambda sample: sample.ts))


class Watch:
    """Looks at one phase, or at what lingers, and at what earlier phases left."""

    def __init__(  # noqa: PLR0913, PLR0917 - what there is to look at
        self,
        plan: PodPlan,
        directory: Path,
        namespaces: Namespaces,
        recorder: Recorder,
        current: TracedPhase | None,
        earlier: Sequence[TracedPhase],
    ) -> None:
        """Prepare.

        Args:
            plan: What the pod is made from.
            directory: Where its evidence is written.
            namespaces: The pod's.
            recorder: Takes the samples.
            current: The phase that runs; None while only survivors are watched.
            earlier: All phases before it.
        """
        self._plan = plan
        self._directory = directory
        self._namespaces = namespaces
        self._recorder = recorder
        self._current = current
        self._earlier = earlier
        self._began = time.monotonic()
        self._next = 0.0
        self._hits: dict[tuple[str, str], LimitHit] = {}
        self.overgrown: list[str] = []
        """Earlier phases whose traces have reached the limit, so that they were ended."""

    def look(self) -> str:
        """See whether the current phase must be ended, and end survivors of earlier ones that use too much.

        Returns:
            Why the phase must be ended (a constant of `sandbox.pod.outcome`); empty when it may go on.
        """
        if self._plan.interrupted():
            return outcome.INTERRUPTED
        if not self._namespaces.alive:
            return outcome.POD
        disk = os.statvfs(self._directory)
        if (free := disk.f_bavail * disk.f_frsize) < outcome.EVIDENCE_RESERVE:
            self._met(outcome.EVIDENCE_DISK, free)
            return outcome.EVIDENCE_DISK
        for phase in self._earlier:
            if phase.alive() and self._trace_is_full(phase):
                phase.end()
                self.overgrown.append(phase.name)
        if time.monotonic() >= self._next:
            now = time.monotonic()
            why = self.measure()
            cost = time.monotonic() - now
            pace = min(max((now - self._began) / 10, _FIRST_AFTER), SAMPLE_EVERY)
            self._next = now + max(pace, cost / _SHARE)
            if why:
                return why
        return outcome.TRACE if self._current is not None and self._trace_is_full(self._current) else ""

    def measure(self) -> str:
        """Take a sample of every phase that has processes, and compare with the limits; like `look`."""
        alive = [phase for phase in self._earlier if phase.alive()]
        if self._current is not None:
            alive.append(self._current)
        samples = [(phase, sample) for phase in alive if (sample := phase.sample()) is not None]
        for _, sample in samples:
            self._recorder.take(sample)
        self._count_tasks([phase for phase, _ in samples])
        self._measure_disk()
        return self._measure_time(samples) or self._measure_memory(samples)

    @property
    def hits(self) -> tuple[LimitHit, ...]:
        """The limits that were met so far."""
        return tuple(self._hits.values())

    def _met(self, name: str, seen: int, phase: TracedPhase | None = None) -> None:
        what = f"left by {phase.name}" if phase is not None and phase is not self._current else ""
        # One that goes on is met many times; the most that was seen tells most.
        before = self._hits.get((name, what))
        if before is None or before.seen < seen:
            self._hits[name, what] = outcome.hit(name, self._plan.limits, seen, what)

    def _trace_is_full(self, phase: TracedPhase) -> bool:
        try:
            size = phase.trace.stat().st_size
        except FileNotFoundError:
            return False
        if size <= self._plan.limits.trace_mb << 20:
            return False
        self._met(outcome.TRACE, size, phase)
        return True

    def _measure_time(self, samples: Sequence[tuple[TracedPhase, Sample]]) -> str:
        for phase, sample in samples:
            if sample.cpu_seconds >= self._plan.limits.cpu_seconds:
                self._met(outcome.CPU, int(sample.cpu_seconds), phase)
                if phase is self._current:
                    return outcome.CPU
                phase.end()
        return ""

    def _measure_memory(self, samples: Sequence[tuple[TracedPhase, Sample]]) -> str:
        limit = self._plan.limits.memory_mb << 20
        if sum(sample.rss_bytes for _, sample in samples) <= limit:
            return ""
        used = [(size, phase) for phase, _ in samples if (size := phase.meter.shared_out()) is not None]
        total = sum(size for size, _ in used)
        if total <= limit:
            return ""
        largest = max(used, key=lambda part: part[0])[1]
        self._met(outcome.MEMORY, total, largest)
        if largest is self._current:
            return outcome.MEMORY
        largest.end()
        return ""

    def _count_tasks(self, phases: Sequence[TracedPhase]) -> None:
        """Note when the kernel refuses more processes: the package lives on, and may never say so."""
        limit, around = self._plan.limits.processes, _OWN_TASKS[self._namespaces.ranges == 1]
        count = self._namespaces.own_tasks + sum(phase.meter.tasks + around for phase in phases)
        if count >= limit - limit // _MISSED:
            self._met(outcome.PROCESSES, min(count, limit))

    def _measure_disk(self) -> None:
        """Note when the pod's file system is full: the package gets an error, and may never say so."""
        space = self._namespaces.disk()
        if space is not None and (space.free < _DISK_FULL or not space.files):
            self._met(outcome.DISK, space.size - space.free)
