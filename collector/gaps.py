"""What a run did not see: a sentence for each part of the evidence that is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.limits import NO_GAP, words
from collector.manifest import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.manifest import Coverage, Manifest, Phase
    from collector.timeline import Timeline, TraceCounts

_NOT_FINISHED: Final = {
    "timed-out": "it ran out of time",
    "killed": "it was killed",
    "oom": "it ran out of memory",
}


def gaps(manifest: Manifest, timeline: Timeline) -> Iterator[str]:
    """Yield a sentence for each part of the evidence that is missing, in the order of the phases."""
    if manifest.interrupted:
        yield "the run was interrupted before its end"
    if manifest.isolation.self_test == "not-completed":
        yield "the tracer is not known to see everything here: its self-test could not be completed"
    if not manifest.phases:
        yield "no phase was run"
    elif missing := [name for name in PHASES if name not in {phase.name for phase in manifest.phases}]:
        yield f"the manifest says nothing of {', '.join(missing)}"
    for phase in manifest.phases:
        yield from _unfinished(phase)
        yield from _trace_gaps(phase, timeline.traces.get(phase.name))
        hits = (*phase.limits, *timeline.gateway_hits.get(phase.name, ()))
        # A limit for which the phase was ended stands in the phase's own reason.
        if told := sorted(words(hit) for hit in hits if hit.name not in NO_GAP and not hit.ended):
            yield f"{phase.name} met its limits: {'; '.join(told)}"
    yield from _record_gaps(timeline)
    yield from timeline.exceeded


def _record_gaps(timeline: Timeline) -> Iterator[str]:
    """What is missing in the records beside the traces."""
    if timeline.gateway_unparsed:
        yield _not_understood(timeline.gateway_unparsed, "the network record")
    for limit in timeline.gateway_limits:
        yield f"the network record is incomplete: {limit}"
    if timeline.capture:
        yield from timeline.capture.gaps
    if timeline.dropped:
        yield from timeline.dropped.gaps
    if timeline.resources.unparsed:
        yield _not_understood(timeline.resources.unparsed, "the resource record")


def _unfinished(phase: Phase) -> Iterator[str]:
    missed = _missed(phase.coverage) if phase.coverage else ()
    seconds = f" after {max(phase.ended - phase.started, 0.0):.0f} s"
    if phase.status in _NOT_FINISHED:
        reason = phase.reason or _NOT_FINISHED[phase.status] + seconds
        yield "; ".join((f"{phase.name} did not finish: {reason}", *missed))
    elif phase.status == "not-run":
        yield f"{phase.name} was not run: {phase.reason or 'no reason was recorded'}"
    elif phase.status == "failed" or phase.exit_code not in {None, 0}:
        yield "; ".join((f"{phase.name} failed: {phase.reason or f'exit code {phase.exit_code}'}", *missed))
    elif missed:
        yield f"{phase.name} is incomplete: {'; '.join(missed)}"


def _missed(coverage: Coverage) -> tuple[str, ...]:
    """What was not looked at; units that failed by themselves (an optional import) were."""
    # The driver lives beside the package: what its lists do not account for counts as not reached.
    unreached = max(len(coverage.unreached), coverage.planned - coverage.reached - len(coverage.timed_out))
    told = ((unreached, "not reached"), (len(coverage.timed_out), "cut off, out of time"))
    units = coverage.unit if coverage.planned == 1 else f"{coverage.unit}s"
    if coverage.unit == "module" and coverage.planned and len(coverage.failed) >= coverage.planned:
        # One that fails is normal (an optional dependency); when all do, nobody has seen what the package does.
        return (f"no module could be imported, the first: {coverage.failed[0]}",)
    return tuple(
        f"{number} of {coverage.planned} {units} {'was' if number == 1 else 'were'} {what}"
        for number, what in told
        if number > 0
    )


def _trace_gaps(phase: Phase, counts: TraceCounts | None) -> Iterator[str]:
    if not phase.trace_complete:
        yield f"the trace of {phase.name} is incomplete: the tracer was stopped or its file was cut"
    if phase.status == "not-run" or not phase.argv:
        return
    # Even a program that does nothing begins with an execve: an empty trace means that the tracer saw nothing.
    if counts is None or counts.lines == 0:
        yield f"{phase.name} has no trace"
    elif counts.unparsed:
        line = counts.first_unparsed_line
        first = f" (the first at {phase.trace}:{line})" if line else ""
        yield _not_understood(counts.unparsed, f"the trace of {phase.name}") + first
    elif phase.status == "completed" and phase.trace_complete and not counts.ended:
        yield f"the trace of {phase.name} stops before its command ended"


def _not_understood(lines: int, where: str) -> str:
    return f"{lines:,} lines of {where} were not understood" if lines > 1 else f"1 line of {where} was not understood"
