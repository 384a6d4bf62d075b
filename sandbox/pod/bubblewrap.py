"""The embedded pod: namespaces, bubblewrap and strace, with no daemon and no need of root.

The worker's child `sandbox.pod.init` holds the namespaces; every phase enters them with nsenter, under strace, inside a
bubblewrap of its own. The tracer is thus outside the package's pid, mount and user namespaces.
"""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Literal

from collector.manifest import Isolation, Phase
from sandbox import tracer
from sandbox.pod import outcome, tracee
from sandbox.pod.interface import RESULT_FD, PhaseCommand, PodPlan, Sample
from sandbox.pod.namespaces import Namespaces
from sandbox.pod.tools import Tools, find_tools
from sandbox.pod.traced import Kept, TracedPhase
from sandbox.pod.watch import SAMPLE_EVERY, Recorder, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class BubblewrapPod:
    """One run's embedded pod. See `sandbox.pod.interface.Pod`."""

    def __init__(self, plan: PodPlan, directory: Path) -> None:
        """Prepare a pod; nothing is started yet.

        Args:
            plan: What to make.
            directory: Existing private directory for traces, outputs and the gateway's records.

        Raises:
            PodError: A program is missing.
        """
        self._plan = plan
        self._directory = directory
        self._tools: Tools = find_tools()
        self._phases: list[TracedPhase] = []
        self._overgrown: list[str] = []
        self._recorder = Recorder()
        self._namespaces = Namespaces(plan, directory, self._tools)
        self.isolation = Isolation(
            pod="bubblewrap",
            kernel=platform.release(),
            outer_user="root" if os.getuid() == 0 else "user",
            uid_ranges=self._namespaces.ranges,
            tracer_mode=plan.tracer_mode,
        )

    def __enter__(self) -> Self:
        """Start the namespaces and the gateway."""
        for name in ("traces", "output"):
            (self._directory / name).mkdir()
        self._namespaces.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop whatever still runs."""
        self.stop()

    def run(self, command: PhaseCommand, note: Callable[[str], None]) -> Phase:
        """Run one phase; see `Pod.run`."""
        started = time.time()
        until = time.monotonic() + command.budget.seconds
        trace = self._directory / "traces" / f"{command.name}.strace"
        kept = Kept(
            trace=trace,
            stdout=self._directory / "output" / f"{command.name}.stdout",
            stderr=self._directory / "output" / f"{command.name}.stderr",
            output_bytes=self._plan.limits.output_kb << 10,
        )
        argv = command.argv

        def start(status_fd: int, result_fd: int, seccomp_fd: int) -> tuple[Sequence[str], dict[str, str]]:
            nonlocal argv
            argv = tuple(str(result_fd) if word == RESULT_FD else word for word in command.argv)
            return self._traced_command(trace, (status_fd, seccomp_fd), argv), dict(self._plan.environment)

        phase = TracedPhase(command.name, kept, self._namespaces.first, start, reports=command.reports_coverage)
        self._phases.append(phase)
        watch = self._watch(phase, self._phases[:-1])
        ended = phase.wait(until, lambda: _look(watch, phase, note))
        # Once more, while what the phase has left can be seen.
        ended = ended or (watch.measure() if phase.alive() else "")
        reported = outcome.coverage(phase.result()) if command.reports_coverage else None
        survives = not ended and phase.alive(patience=0.2)
        whole = survives or phase.end()
        record = Phase(
            name=command.name,
            status="completed",
            exit_code=phase.exit_code,
            started=started,
            ended=time.time(),
            argv=argv,
            trace=f"traces/{trace.name}.zst",
            trace_complete=whole and ended not in outcome.LOSSES,
            output_truncated=phase.output_truncated,
            survivors=len(phase.processes()) if survives else 0,
            coverage=reported,
        )
        self._overgrown += watch.overgrown
        hits = (*watch.hits, *outcome.cut(self._plan.limits, *phase.printed))
        return outcome.judged(record, ended, command, phase, kept.stderr, hits=hits)

    def _watch(self, current: TracedPhase | None, earlier: Sequence[TracedPhase]) -> Watch:
        return Watch(self._plan, self._directory, self._namespaces, self._recorder, current, earlier)

    def _traced_command(self, trace: Path, descriptors: tuple[int, int], argv: Sequence[str]) -> list[str]:
        plan = self._plan
        spaces = self._namespaces
        inner = [*tracee.tracee(self._tools, spaces.stage, plan.home, plan.hostname, descriptors), *argv]
        inner = tracee.unprivileged(self._tools, inner, own_uid=spaces.ranges > 1)
        limited = tracee.limited(self._tools, plan.limits, inner)
        traced = tracer.command(self._tools.strace, trace, limited, plan.tracer_mode)
        entered = ["--user", "--mount", "--net", "--ipc", "--pid"]
        return [self._tools.nsenter, f"--target={spaces.first}", "--preserve-credentials", *entered, "--", *traced]

    def linger(self, seconds: float) -> Phase:
        """Watch survivors; see `Pod.linger`."""
        started = time.time()
        until = time.monotonic() + seconds
        survivors = [phase for phase in self._phases if phase.alive()]
        count = sum(len(phase.processes()) for phase in survivors)
        watch = self._watch(None, survivors)
        while time.monotonic() < until and any(phase.alive() for phase in survivors) and not watch.look():
            time.sleep(min(SAMPLE_EVERY, max(until - time.monotonic(), 0)))
        self._overgrown += watch.overgrown
        left = sum(len(phase.processes()) for phase in survivors if phase.alive())
        reason = f"{count} processes had outlived their phase, {left} were ended" if survivors else ""
        # What still ran might have acted a moment later: that is not the same as having seen everything.
        # The tracer knows best: it ends with the last of what it traces, also where we could not count.
        lives = any(phase.alive(patience=0.2) for phase in survivors)
        status: Literal["timed-out", "completed"] = "timed-out" if left or lives else "completed"
        return Phase(name="linger", status=status, reason=reason, started=started, ended=time.time(), limits=watch.hits)

    def list_dropped(self, site_packages: str, settled: float) -> None:
        """See `Pod.list_dropped`."""
        for phase in self._phases:
            phase.end()
        self._namespaces.list_dropped(site_packages, settled)

    def stop(self) -> tuple[str, ...]:
        """End everything; see `Pod.stop`."""
        unfinished = (*self._overgrown, *(phase.name for phase in self._phases if not phase.end()))
        for phase in self._phases:
            phase.close()
        self._namespaces.stop()
        self._phases.clear()
        return unfinished

    def samples(self) -> tuple[Sample, ...]:
        """See `Pod.samples`."""
        return self._recorder.samples()


def _look(watch: Watch, phase: TracedPhase, note: Callable[[str], None]) -> str:
    if phase.output_truncated:
        note("output is cut at its limit")
    return watch.look()
