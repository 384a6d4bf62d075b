"""The Docker pod: see `sandbox.pod.interface.Pod` for what it promises, docs/docker.md for what it is made of."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import platform
import secrets
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from collector.manifest import Isolation, LimitHit, Phase
from sandbox import tracer
from sandbox.errors import PodError
from sandbox.pod import dropped, outcome, seccomp
from sandbox.pod.docker import engine, images
from sandbox.pod.docker.gateway import GatewayContainer
from sandbox.pod.docker.labels import remove_orphans
from sandbox.pod.docker.phase import DockerPhase
from sandbox.pod.docker.tracee import ENTER, OURS, TRACES, TraceeContainer, has_own_kernel, process_limits
from sandbox.pod.interface import RESULT_FD, PhaseCommand, PodPlan, Sample
from sandbox.pod.tools import find_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from docker import DockerClient

_log = structlog.get_logger(__name__)
_MEGABYTE = 1 << 20
_RESULT_DESCRIPTOR = 3


class DockerPod:
    """One run's pod of two containers."""

    def __init__(self, plan: PodPlan, directory: Path, runtime: str) -> None:
        """Prepare a pod; nothing is started yet.

        Args:
            plan: What to make.
            directory: Existing private directory for traces, outputs and the gateway's records.
            runtime: Name of the tracee's runtime, as the engine knows it.

        Raises:
            PodError: A program is missing on this machine.
        """
        self._plan = plan
        self._directory = directory
        self._runtime = runtime
        self._tools = find_tools()
        self._client: DockerClient | None = None
        self._gateway: GatewayContainer | None = None
        self._tracee: TraceeContainer | None = None
        self._phases: list[DockerPhase] = []
        self._samples: list[Sample] = []
        self._overgrown: list[str] = []
        self._cut: set[str] = set()
        self._told: dict[str, int] = {}
        self.isolation = Isolation(
            pod="docker",
            kernel=platform.release(),
            outer_user="root" if os.getuid() == 0 else "user",
            # The package has a uid of its own: of the machine, or of the sandbox's kernel.
            uid_ranges=2,
            runtime=runtime,
            tracer_mode=plan.tracer_mode,
        )

    def __enter__(self) -> Self:
        """Start both containers."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop whatever still runs."""
        self.stop()

    def _start(self) -> None:
        self._client = client = engine.connect()
        known = engine.runtimes(client)
        if self._runtime not in known:
            raise PodError(engine.unknown_runtime(self._runtime, known))
        if orphans := remove_orphans(client).containers:
            self._plan.orphans_removed(len(orphans))
        ready = images.ensure(client, self._plan.rootfs, self._tools.strace)
        (self._directory / "gateway").mkdir()
        attempt = secrets.token_hex(6)
        self._gateway = GatewayContainer(client, ready.gateway, attempt, self._plan, self._directory / "gateway")
        self._tracee = TraceeContainer(client, ready.tracee, attempt, self._runtime, self._plan, self._directory)
        self._gateway.start(self._tools)
        self._tracee.start(self._gateway.name)

    def run(self, command: PhaseCommand, note: Callable[[str], None]) -> Phase:
        """Run one phase; see `Pod.run`."""
        if self._tracee is None:
            raise PodError("the pod has not been started")
        started = time.time()
        until = time.monotonic() + command.budget.seconds
        argv = tuple(str(_RESULT_DESCRIPTOR) if word == RESULT_FD else word for word in command.argv)
        record = Phase(name=command.name, status="completed", started=started, ended=started, argv=argv)
        if not self._alive():
            reason = "the pod ended before"
            return msgspec.structs.replace(record, status="not-run", reason=reason, trace_complete=False)
        trace = self._directory / "traces" / f"{command.name}.strace"
        self._write_command(command, argv)
        phase = DockerPhase(command.name, self._tracee, trace)
        self._phases.append(phase)
        ended = phase.wait(until, lambda: self._limit_hit(phase, note))
        whole = phase.end() if ended or not phase.alive else True
        ended = self._why(phase) or ended
        record = msgspec.structs.replace(
            record,
            exit_code=phase.exit_code,
            ended=time.time(),
            trace=f"traces/{trace.name}.zst",
            trace_complete=whole and ended not in outcome.LOSSES,
            output_truncated=self._is_cut(phase),
            survivors=phase.survivors if not ended else 0,
            coverage=outcome.coverage(phase.result()) if command.reports_coverage else None,
        )
        stderr = self._directory / "output" / f"{command.name}.stderr"
        hits = (*self._hits(phase, ended), *outcome.cut(self._plan.limits, *phase.printed))
        record = outcome.judged(record, ended, command, phase, stderr, hits=hits)
        if phase.error and not ended:
            reason = f"fumehood itself failed, not the package: {phase.error}"
            record = msgspec.structs.replace(record, status="failed", reason=reason, trace_complete=False)
        return record

    def _hits(self, phase: DockerPhase, ended: str) -> tuple[LimitHit, ...]:
        """The limits that were met: those that the runner saw, the kernel's, and ours."""
        limits = self._plan.limits
        hits = list(phase.hits)
        if ended == outcome.MEMORY and not any(hit.name == outcome.MEMORY for hit in hits):
            hits.append(outcome.hit(outcome.MEMORY, limits, limits.memory_mb * _MEGABYTE))
        if ended == outcome.TRACE:
            hits.append(outcome.hit(outcome.TRACE, limits, phase.trace.stat().st_size))
        if ended == outcome.EVIDENCE_DISK:
            hits.append(outcome.hit(outcome.EVIDENCE_DISK, limits, self._room()))
        return (*hits, *self._hits_of_survivors(phase))

    def _hits_of_survivors(self, current: DockerPhase | None) -> tuple[LimitHit, ...]:
        """Limits that what earlier phases left has met since this was asked last."""
        found = []
        for phase in self._phases:
            if phase is not current:
                new = phase.hits[self._told.get(phase.name, 0) :]
                found += [msgspec.structs.replace(hit, what=f"left by {phase.name}") for hit in new]
            self._told[phase.name] = len(phase.hits)
        return tuple(found)

    def _write_command(self, command: PhaseCommand, argv: Sequence[str]) -> None:
        if self._tracee is None:
            return
        trace = PurePosixPath(TRACES, f"{command.name}.strace")
        loader = [f"{images.TRACER}/lib/ld.so", "--library-path", f"{images.TRACER}/lib"]
        mode = self._plan.tracer_mode
        limits = self._plan.limits
        own_kernel = has_own_kernel(self._runtime)
        document = {
            "command": [
                *loader,
                *tracer.command(f"{images.TRACER}/strace", Path(trace), [*ENTER, command.name], mode, tracer.BESIDE),
            ],
            "argv": argv,
            "trace": str(trace),
            "environment": dict(self._plan.environment),
            "directory": self._plan.home,
            # Where the filter comes before a tracer that stops at every call, it would hide what that one answers.
            "filter": base64.b64encode(seccomp.program(above_tracer=own_kernel)).decode(),
            "reports": command.reports_coverage,
            "result_fd": _RESULT_DESCRIPTOR,
            # gVisor hangs when many are killed whose tracer stands still.
            "freezes": not own_kernel,
            "pids": limits.processes + OURS,
            "uid": self._tracee.uid,
            "limits": process_limits(limits),
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_mb * _MEGABYTE,
            "output_bytes": limits.output_kb << 10,
        }
        (self._tracee.control / f"{command.name}.json").write_bytes(msgspec.json.encode(document))

    def _limit_hit(self, phase: DockerPhase, note: Callable[[str], None]) -> str:
        if self._plan.interrupted():
            return outcome.INTERRUPTED
        if not self._alive():
            return outcome.POD
        if self._room() < outcome.EVIDENCE_RESERVE:
            return outcome.EVIDENCE_DISK
        self._end_overgrown(phase)
        if self._is_cut(phase) and phase.name not in self._cut:
            self._cut.add(phase.name)
            note("output is cut at its limit")
        return outcome.TRACE if self._is_overgrown(phase) else ""

    def _room(self) -> int:
        """Bytes that are free on the disk with the evidence."""
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize

    def _is_cut(self, phase: DockerPhase) -> bool:
        return max(phase.printed) > self._plan.limits.output_kb << 10

    def _alive(self) -> bool:
        """Whether both containers run; without its gateway, a pod would go on unrecorded."""
        parts = (self._gateway, self._tracee)
        return all(part is not None and part.running for part in parts)

    def _is_overgrown(self, phase: DockerPhase) -> bool:
        return phase.trace.exists() and phase.trace.stat().st_size > self._plan.limits.trace_mb * _MEGABYTE

    def _end_overgrown(self, current: DockerPhase | None) -> None:
        """End survivors of earlier phases whose traces have grown over the limit meanwhile."""
        for phase in self._phases:
            if phase is not current and phase.alive and self._is_overgrown(phase):
                phase.end()
                self._overgrown.append(phase.name)

    def _why(self, phase: DockerPhase) -> str:
        """Whether it was the kernel or the runner that ended something."""
        if phase.oom or (self._tracee is not None and not self._tracee.running and self._tracee.out_of_memory()):
            return outcome.MEMORY
        return phase.limit if self._alive() else outcome.POD

    def linger(self, seconds: float) -> Phase:
        """Watch survivors; see `Pod.linger`."""
        started, until = time.time(), time.monotonic() + seconds
        survivors = [phase for phase in self._phases if phase.alive]
        count = sum(phase.living for phase in survivors)
        while time.monotonic() < until and any(phase.alive for phase in survivors) and not self._plan.interrupted():
            self._end_overgrown(None)
            time.sleep(min(0.1, max(until - time.monotonic(), 0)))
        left = sum(phase.living for phase in survivors)
        # What still runs might act a moment later. Who lives on from child to child is not there when it is counted.
        lives = any(phase.outlasts() for phase in survivors)
        reason = f"{count} processes had outlived their phase, {left} were ended" if count or lives else ""
        status: Literal["timed-out", "completed"] = "timed-out" if left or lives else "completed"
        hits = self._hits_of_survivors(None)
        return Phase(name="linger", status=status, reason=reason, started=started, ended=time.time(), limits=hits)

    def list_dropped(self, site_packages: str, settled: float) -> None:
        """See `Pod.list_dropped`."""
        # An engine that fails now costs the list, whose want is told, and not the evidence of the phases.
        with contextlib.suppress(PodError):
            for phase in self._phases:
                phase.end()
            if self._tracee is not None:
                self._tracee.list_dropped(site_packages, settled, self._directory / dropped.FILE)

    def stop(self) -> tuple[str, ...]:
        """End everything; see `Pod.stop`."""
        unfinished = [*self._overgrown]
        phases, self._phases = self._phases, []
        client, self._client = self._client, None
        gateway, self._gateway = self._gateway, None
        tracee, self._tracee = self._tracee, None
        # Last in, first out: each step is taken, whatever became of those before it.
        with contextlib.ExitStack() as steps:
            if client is not None:
                steps.push(_step(client.close))
            if gateway is not None:
                steps.push(_step(gateway.stop))
            if tracee is not None:
                steps.push(_step(tracee.stop))
            for phase in reversed(phases):
                steps.push(_step(functools.partial(self._finish, phase, unfinished)))
        return tuple(dict.fromkeys(unfinished))

    def _finish(self, phase: DockerPhase, unfinished: list[str]) -> None:
        """End a phase for good and take over what it has told."""
        try:
            if not phase.end():
                unfinished.append(phase.name)
        finally:
            self._samples.extend(phase.samples)

    def samples(self) -> tuple[Sample, ...]:
        """See `Pod.samples`."""
        return (*self._samples, *(sample for phase in self._phases for sample in phase.samples))


def _step(
    clean: Callable[[], None],
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]:
    """A step of cleaning up, whose error is passed on unless a step before has failed: that one tells more."""

    def leave(_kind: type[BaseException] | None, before: BaseException | None, _trace: TracebackType | None) -> None:
        try:
            clean()
        except PodError as error:
            if before is None:
                raise
            _log.warning("cannot clean up", error=str(error))

    return leave
