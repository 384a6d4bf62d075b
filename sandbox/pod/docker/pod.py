"""The Docker pod: see `sandbox.pod.interface.Pod` for what it promises, docs/docker.md for what it is made of."""

from __future__ import annotations

import os
import platform
import secrets
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from collector.manifest import Coverage, Isolation, Phase
from sandbox import tracer
from sandbox.errors import PodError
from sandbox.pod.docker import engine, images
from sandbox.pod.docker.gateway import GatewayContainer
from sandbox.pod.docker.labels import remove_orphans
from sandbox.pod.docker.phase import DockerPhase
from sandbox.pod.docker.tracee import OURS, TRACES, TraceeContainer
from sandbox.pod.interface import RESULT_FD, TRACEE_UID, PhaseCommand, PodPlan, Sample
from sandbox.pod.tools import find_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from docker import DockerClient

_MEGABYTE = 1 << 20
_RESULT_DESCRIPTOR = 3
_SHOWN = 200


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
        self.isolation = Isolation(
            pod="docker",
            kernel=platform.release(),
            outer_user="root" if os.getuid() == 0 else "user",
            uid_ranges=1,
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
            raise PodError(
                f"Docker does not know the runtime {self._runtime!r}: use one of {', '.join(known)}, "
                "or register it (docs/docker.md)"
            )
        remove_orphans(client)
        ready = images.ensure(client, self._plan.rootfs, self._tools.strace)
        (self._directory / "gateway").mkdir()
        run = secrets.token_hex(6)
        self._gateway = GatewayContainer(client, ready.gateway, run, self._plan, self._directory / "gateway")
        self._tracee = TraceeContainer(client, ready.tracee, run, self._runtime, self._plan, self._directory)
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
        if not self._tracee.running:
            reason = "the pod's container has ended before"
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
            trace_complete=whole and ended != "trace",
            output_truncated=phase.output_truncated,
            survivors=phase.survivors if not ended else 0,
            limits=(ended,) if ended and ended != "timed-out" else (),
            coverage=_coverage(phase.result()) if command.reports_coverage else None,
        )
        return _with_status(record, ended, command, self._directory / "output" / f"{command.name}.stderr")

    def _write_command(self, command: PhaseCommand, argv: Sequence[str]) -> None:
        if self._tracee is None:
            return
        trace = PurePosixPath(TRACES, f"{command.name}.strace")
        loader = [f"{images.TRACER}/lib/ld.so", "--library-path", f"{images.TRACER}/lib"]
        traced = tracer.command(
            f"{images.TRACER}/strace",
            Path(trace),
            [*self._limited(), *argv],
            self._plan.tracer_mode,
            tracer.BESIDE,
        )
        document = {
            "command": [*loader, *traced],
            "trace": str(trace),
            "environment": dict(self._plan.environment),
            "directory": self._plan.home,
            "reports": command.reports_coverage,
            "result_fd": _RESULT_DESCRIPTOR,
            # gVisor hangs when many are killed whose tracer stands still; and it has no limit of processes of its own.
            "freezes": self._runtime == "runc",
            "processes": self._plan.limits.processes + OURS,
            "output_bytes": self._plan.limits.output_kb << 10,
        }
        (self._tracee.control / f"{command.name}.json").write_bytes(msgspec.json.encode(document))

    def _limited(self) -> list[str]:
        """What stands before the package's command: limits of a process, then its own user without a capability.

        Memory and the number of processes are the container's limits, not a process's.
        """
        limits = self._plan.limits
        return [
            "/usr/bin/prlimit",
            f"--fsize={limits.file_mb * _MEGABYTE}",
            f"--nofile={limits.open_files}",
            f"--cpu={limits.cpu_seconds}",
            "--core=0",
            "--memlock=0",
            # When memory ends, the package goes first, not the tracer.
            *("/usr/bin/choom", "-n", "900", "--", "/usr/bin/setpriv"),
            *(f"--reuid={TRACEE_UID}", f"--regid={TRACEE_UID}", "--clear-groups"),
            *("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"),
        ]

    def _limit_hit(self, phase: DockerPhase, note: Callable[[str], None]) -> str:
        if self._tracee is not None and not self._tracee.running:
            return "pod"
        self._end_overgrown(phase)
        if phase.output_truncated and phase.name not in self._cut:
            self._cut.add(phase.name)
            note("output is cut at its limit")
        return "trace" if self._is_overgrown(phase) else ""

    def _is_overgrown(self, phase: DockerPhase) -> bool:
        return phase.trace.exists() and phase.trace.stat().st_size > self._plan.limits.trace_mb * _MEGABYTE

    def _end_overgrown(self, current: DockerPhase | None) -> None:
        """End survivors of earlier phases whose traces have grown over the limit meanwhile."""
        for phase in self._phases:
            if phase is not current and phase.alive and self._is_overgrown(phase):
                phase.end()
                self._overgrown.append(phase.name)

    def _why(self, phase: DockerPhase) -> str:
        """Whether it was the kernel that ended something, for want of memory."""
        if phase.oom:
            return "memory"
        if phase.limit:
            return phase.limit
        if self._tracee is None or self._tracee.running:
            return ""
        return "memory" if self._tracee.out_of_memory() else "pod"

    def linger(self, seconds: float) -> Phase:
        """Watch survivors; see `Pod.linger`."""
        started = time.time()
        until = time.monotonic() + seconds
        survivors = [phase for phase in self._phases if phase.alive]
        count = sum(max(phase.living, phase.survivors) for phase in survivors)
        while time.monotonic() < until and any(phase.alive for phase in survivors):
            self._end_overgrown(None)
            time.sleep(min(0.1, max(until - time.monotonic(), 0)))
        left = sum(phase.living for phase in survivors)
        reason = f"{count} processes had outlived their phase, {left} were ended" if count else ""
        return Phase(name="linger", status="completed", reason=reason, started=started, ended=time.time())

    def stop(self) -> tuple[str, ...]:
        """End everything; see `Pod.stop`."""
        unfinished = (*self._overgrown, *(phase.name for phase in self._phases if not phase.end()))
        for phase in self._phases:
            self._samples.extend(phase.samples)
        self._phases.clear()
        tracee, self._tracee = self._tracee, None
        gateway, self._gateway = self._gateway, None
        client, self._client = self._client, None
        try:
            if tracee is not None:
                tracee.stop()
        finally:
            try:
                if gateway is not None:
                    gateway.stop()
            finally:
                if client is not None:
                    client.close()
        return tuple(dict.fromkeys(unfinished))

    def samples(self) -> tuple[Sample, ...]:
        """See `Pod.samples`."""
        return (*self._samples, *(sample for phase in self._phases for sample in phase.samples))


def _coverage(result: bytes) -> Coverage | None:
    """What a driver said it reached; a package that tampers with it makes the phase look unfinished, not finished."""
    try:
        return msgspec.json.decode(result, type=Coverage)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _with_status(phase: Phase, ended: str, command: PhaseCommand, stderr: Path) -> Phase:
    replace = msgspec.structs.replace
    if ended == "timed-out":
        return replace(phase, status="timed-out", reason=f"not finished after {command.budget.seconds} s")
    if ended == "memory":
        return replace(phase, status="oom", reason="the kernel ended a process: the pod's memory was used up")
    if ended == "pod":
        return replace(phase, status="killed", reason="the pod's container ended meanwhile", trace_complete=False)
    if ended:
        return replace(phase, status="killed", reason=f"ended by us: its {ended} had reached the limit")
    if phase.exit_code is None:
        lines = stderr.read_text(errors="backslashreplace").strip().splitlines() if stderr.exists() else []
        said = lines[-1][:_SHOWN] if lines else "its runner said nothing"
        reason = f"could not be run in the pod: {said}"
        return replace(phase, status="failed", reason=reason, trace_complete=False)
    reason = ""
    if phase.exit_code != 0:
        reason = f"exit code {phase.exit_code}"
    elif command.reports_coverage and phase.coverage is None:
        reason = "its driver was disturbed: it did not report what it reached"
    return replace(phase, status="failed", reason=reason) if reason else phase
