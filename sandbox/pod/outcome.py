"""How a phase ended, in words: from what the pod saw to the phase's status and reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from collector.manifest import Coverage, Phase, PhaseStatus

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.pod.interface import PhaseCommand

TIMED_OUT, INTERRUPTED, TRACE, DISK, POD = "timed-out", "interrupted", "trace", "disk", "pod"
MEMORY, PROCESSES = "memory", "processes"
"""Why a phase was ended before its root: its budget, the user, a limit, or the pod's own end."""

INTERRUPTED_REASON = "the run was interrupted"
_KILLED = {
    INTERRUPTED: INTERRUPTED_REASON,
    TRACE: "ended by us: its trace had reached the limit",
    DISK: "the disk that holds the evidence is full",
    MEMORY: "the kernel ended a process: the pod's memory was used up",
    PROCESSES: "ended by us: its number of processes had reached the limit",
    POD: "the pod itself ended: its gateway or first process died",
}
LOSSES = frozenset({TRACE, DISK, POD})
"""Those after which the trace, or what belongs to it, is not whole."""


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


def judged(phase: Phase, ended: str, command: PhaseCommand, traced: Started, stderr: Path) -> Phase:
    """The phase with its status, reason and limits.

    Args:
        phase: What is known otherwise.
        ended: Why it was ended; empty when its root process ended by itself.
        command: What it was to run.
        traced: Its processes.
        stderr: File with its standard error, for what bubblewrap said when nothing could be run.
    """
    replace = msgspec.structs.replace
    if ended == TIMED_OUT:
        return replace(phase, status="timed-out", reason=f"not finished after {command.budget.seconds} s")
    if ended:
        status: PhaseStatus = "oom" if ended == MEMORY else "killed"
        return replace(phase, status=status, reason=_KILLED[ended], limits=() if ended == INTERRUPTED else (ended,))
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
