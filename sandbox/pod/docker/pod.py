"""The Docker pod: see `sandbox.pod.interface.Pod` for what it promises, docs/docker.md for what it is made of."""

from __future__ import annotations

import base64
import os
import platform
import secrets
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import msgspec

from collector.manifest import Isolation, Phase
from sandbox import tracer
from sandbox.errors import PodError
from sandbox.pod import outcome, seccomp
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
_DISK_RESERVE = 16 * _MEGABYTE
"""Left on the disk with the evidence, so that what was seen can still be sealed."""


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
            output_truncated=phase.output_truncated,
            survivors=phase.survivors if not ended else 0,
            coverage=outcome.coverage(phase.result()) if command.reports_coverage else None,
        )
        stderr = self._directory / "output" / f"{command.name}.stderr"
        return outcome.judged(record, ended, command, phase, stderr)

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
            "filter": base64.b64encode(seccomp.program()).decode(),
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
        if self._plan.interrupted():
            return outcome.INTERRUPTED
        if not self._alive():
            return outcome.POD
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize < _DISK_RESERVE:
            return outcome.DISK
        self._end_overgrown(phase)
        if phase.output_truncated and phase.name not in self._cut:
            self._cut.add(phase.name)
            note("output is cut at its limit")
        return outcome.TRACE if self._is_overgrown(phase) else ""

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
        started = time.time()
        until = time.monotonic() + seconds
        survivors = [phase for phase in self._phases if phase.alive]
        count = sum(phase.living for phase in survivors)
        while time.monotonic() < until and any(phase.alive for phase in survivors) and not self._plan.interrupted():
            self._end_overgrown(None)
            time.sleep(min(0.1, max(until - time.monotonic(), 0)))
        left = sum(phase.living for phase in survivors)
        reason = f"{count} processes had outlived their phase, {left} were ended" if count else ""
        # What still ran might have acted a moment later: that is not the same as having seen everything.
        status: Literal["timed-out", "completed"] = "timed-out" if left else "completed"
        return Phase(name="linger", status=status, reason=reason, started=started, ended=time.time())

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
