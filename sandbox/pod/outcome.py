"""How a phase ended, in words: from what the pod saw to the phase's status, reason and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from collector.limits import words
from collector.manifest import Coverage, LimitHit, Phase, PhaseStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sandbox.pod.interface import PhaseCommand
    from sandbox.profile import Limits

TIMED_OUT, INTERRUPTED, POD = "timed-out", "interrupted", "pod"
CPU: Final = "cpu"
MEMORY: Final = "memory"
PROCESSES: Final = "processes"
DISK: Final = "disk"
TRACE: Final = "trace"
EVIDENCE_DISK: Final = "evidence-disk"
"""Why a phase was ended before its root: its budget, the user, the pod's own end, or one of its limits."""

INTERRUPTED_REASON = "the run was interrupted"
LOSSES = frozenset({TRACE, EVIDENCE_DISK, POD})
"""Those after which the trace, or what belongs to it, is not whole."""
EVIDENCE_RESERVE = 16 << 20
"""Bytes left free on the disk with the evidence, so that what was seen can still be sealed."""
CPU_GRACE = 1
"""Seconds that the kernel lets a single process go on after the phase should have been ended for its processor time:
ours is the better end, as it says why."""
_SIGNALLED_BY_LIMIT = frozenset({128 + 9, 128 + 24})
"""Exit codes of a process that had used up RLIMIT_CPU: SIGKILL, SIGXCPU."""
_POD_ENDED = "the pod itself ended: its gateway or first process died"


class Started(Protocol):
    """A phase's processes, as far as it matters here."""

    started_inside: bool
    """Whether the pod's own set-up came as far as the command."""


def coverage(result: bytes) -> Coverage | None:
    """What a driver said it reached; a package that tampers with it makes the phase look unfinished, not finished."""
    try:
        return msgspec.json.decode(result, type=Coverage)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def hit(name: str, limits: Limits, seen: int, what: str = "") -> LimitHit:
    """A limit of the profile that was reached.

    Args:
        name: One of the constants above.
        limits: The profile's.
        seen: What there was: seconds, bytes or processes.
        what: Which of several; see `LimitHit`.

    Raises:
        ValueError: `name` is not the name of a limit.
    """
    if name == CPU:
        return LimitHit(name="cpu", limit=limits.cpu_seconds, seen=seen, unit="seconds", what=what)
    if name == MEMORY:
        return LimitHit(name="memory", limit=limits.memory_mb << 20, seen=seen, unit="bytes", what=what)
    if name == PROCESSES:
        return LimitHit(name="processes", limit=limits.processes, seen=seen, unit="processes", what=what)
    if name == DISK:
        return LimitHit(name="disk", limit=limits.disk_mb << 20, seen=seen, unit="bytes", what=what)
    if name == TRACE:
        return LimitHit(name="trace", limit=limits.trace_mb << 20, seen=seen, unit="bytes", what=what)
    if name == EVIDENCE_DISK:
        return LimitHit(name="evidence-disk", limit=EVIDENCE_RESERVE, seen=seen, unit="bytes", what=what)
    raise ValueError(f"{name} is not a limit")


def cut(limits: Limits, stdout: int, stderr: int) -> tuple[LimitHit, ...]:
    """The limits on outputs that were longer than what is kept of them.

    Args:
        limits: The profile's.
        stdout: Bytes that were printed there.
        stderr: Likewise.
    """
    kept = limits.output_kb << 10
    return tuple(
        LimitHit(name="output", limit=kept, seen=printed, lost=printed - kept, unit="bytes", what=stream)
        for stream, printed in (("stdout", stdout), ("stderr", stderr))
        if printed > kept
    )


def judged(  # noqa: PLR0913 - what a phase is judged by
    phase: Phase,
    ended: str,
    command: PhaseCommand,
    traced: Started,
    stderr: Path,
    *,
    hits: Sequence[LimitHit] = (),
) -> Phase:
    """The phase with its status, reason and limits.

    Args:
        phase: What is known otherwise.
        ended: Why it was ended; empty when its root process ended by itself.
        command: What it was to run.
        traced: Its processes.
        stderr: File with its standard error, for what bubblewrap said when nothing could be run.
        hits: Limits that were reached, among them the one for which it was ended.
    """
    replace = msgspec.structs.replace
    if not ended and phase.exit_code in _SIGNALLED_BY_LIMIT and any(own.name == CPU and not own.what for own in hits):
        ended = CPU
    marked = tuple(replace(own, ended=True) if own.name == ended and not own.what else own for own in hits)
    phase = replace(phase, limits=marked)
    if ended:
        status, reason = _ended(ended, command, marked)
        return replace(phase, status=status, reason=reason)
    if not traced.started_inside or phase.exit_code is None:
        lines = stderr.read_text(errors="backslashreplace").strip().splitlines() if stderr.exists() else []
        said = lines[-1][:200] if lines else "the tracer said nothing"
        reason = f"could not be run in the pod: {said}"
        return replace(phase, status="failed", trace_complete=False, reason=reason)
    if phase.exit_code != 0:
        return replace(phase, status="failed", reason=f"exit code {phase.exit_code}")
    if command.reports_coverage and phase.coverage is None:
        reason = "its driver was disturbed: it did not report what it reached"
        return replace(phase, status="failed", reason=reason)
    return phase


def _ended(ended: str, command: PhaseCommand, hits: Sequence[LimitHit]) -> tuple[PhaseStatus, str]:
    """Status and reason of a phase that was ended."""
    if ended == TIMED_OUT:
        return "timed-out", f"not finished after {command.budget.seconds} s"
    if ended == INTERRUPTED:
        return "killed", INTERRUPTED_REASON
    if ended == POD:
        return "killed", _POD_ENDED
    told = next((words(own) for own in hits if own.ended), ended)
    return "oom" if ended == MEMORY else "killed", f"ended at a limit: {told}"
