"""The embedded pod: namespaces, bubblewrap and strace, with no daemon and no need of root.

The worker's child `sandbox.pod.init` holds the namespaces; every phase enters them with nsenter, under strace, inside a
bubblewrap of its own. The tracer is thus outside the package's pid, mount and user namespaces.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from collector.manifest import Coverage, Isolation, Phase
from sandbox import tracer
from sandbox.errors import PodError
from sandbox.gateway.config import GatewayConfig, Metadata
from sandbox.gateway.config import Limits as GatewayLimits
from sandbox.pod import etc, tracee
from sandbox.pod.init import InitPlan
from sandbox.pod.interface import RESULT_FD, TRACEE_UID, PhaseCommand, PodPlan, Sample
from sandbox.pod.surroundings import our_environment
from sandbox.pod.tools import Tools, find_tools
from sandbox.pod.traced import TracedPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

_TCP_PORT, _DNS_PORT = 61001, 61053
_STAGES = ("/media", "/mnt", "/srv", "/opt")
_HOST_UIDS = 1_879_000_000
"""First of the host uids a pod's package may get: far above those that distributions hand out."""
_MEGABYTE = 1 << 20


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
        self._cut: list[TracedPhase] = []
        self._samples: list[Sample] = []
        self._init: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._stage = self._find_stage()
        root = os.getuid() == 0
        self._ranges = 2 if root else 1
        self.isolation = Isolation(
            pod="bubblewrap",
            kernel=platform.release(),
            outer_user="root" if root else "user",
            uid_ranges=self._ranges,
            tracer_mode=plan.tracer_mode,
        )

    def __enter__(self) -> Self:
        """Start the namespaces and the gateway."""
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

    def run(self, command: PhaseCommand, note: Callable[[str], None]) -> Phase:
        """Run one phase; see `Pod.run`."""
        started = time.time()
        until = time.monotonic() + command.budget.seconds
        trace = self._directory / "traces" / f"{command.name}.strace"
        output = tuple(self._directory / "output" / f"{command.name}.{stream}" for stream in ("stdout", "stderr"))
        argv = command.argv

        def start(status_fd: int, result_fd: int) -> tuple[Sequence[str], dict[str, str]]:
            nonlocal argv
            argv = tuple(str(result_fd) if word == RESULT_FD else word for word in command.argv)
            return self._traced_command(trace, status_fd, argv), dict(self._plan.environment)

        phase = TracedPhase(
            command.name,
            trace,
            (output[0], output[1]),
            self._plan.limits.output_kb << 10,
            start,
            reports=command.reports_coverage,
        )
        self._phases.append(phase)
        ended = phase.wait(until, lambda: self._limit_hit(trace, phase, note), self._samples.append)
        coverage = _coverage(phase.result()) if command.reports_coverage else None
        whole = True
        survivors = 0
        if ended:
            whole = phase.end()
        elif phase.alive(patience=0.2):
            survivors = len(phase.processes())
        else:
            whole = phase.end()
        record = Phase(
            name=command.name,
            status="completed",
            exit_code=phase.exit_code,
            started=started,
            ended=time.time(),
            argv=argv,
            trace=f"traces/{trace.name}.zst",
            trace_complete=whole and ended != "trace",
            output_truncated=phase.output_truncated,
            survivors=survivors,
            limits=(ended,) if ended and ended != "timed-out" else (),
            coverage=coverage,
        )
        return _with_status(record, ended, command, phase, output[1])

    def _traced_command(self, trace: Path, status_fd: int, argv: Sequence[str]) -> list[str]:
        inner = [*tracee.tracee(self._tools, self._stage, self._plan.home, self._plan.hostname, status_fd), *argv]
        if self._ranges > 1:
            inner = tracee.unprivileged(self._tools, inner)
        limited = tracee.limited(self._tools, self._plan.limits, inner)
        traced = tracer.command(self._tools.strace, trace, limited, self._plan.tracer_mode)
        spaces = ["--user", "--mount", "--net", "--ipc", "--pid"]
        return [self._tools.nsenter, f"--target={self._first}", "--preserve-credentials", *spaces, "--", *traced]

    def _limit_hit(self, trace: Path, phase: TracedPhase, note: Callable[[str], None]) -> str:
        if self._init is not None and self._init.poll() is not None:
            return "pod"
        try:
            size = trace.stat().st_size
        except FileNotFoundError:
            return ""
        self._end_overgrown()
        if phase.output_truncated and phase not in self._cut:
            self._cut.append(phase)
            note("output is cut at its limit")
        return "trace" if size > self._plan.limits.trace_mb * _MEGABYTE else ""

    def _end_overgrown(self) -> None:
        """End survivors of earlier phases whose traces have grown over the limit meanwhile."""
        for phase in self._phases[:-1]:
            if phase.alive() and phase.trace.stat().st_size > self._plan.limits.trace_mb * _MEGABYTE:
                phase.end()
                self._overgrown.append(phase.name)

    def linger(self, seconds: float) -> Phase:
        """Watch survivors; see `Pod.linger`."""
        started = time.time()
        until = time.monotonic() + seconds
        survivors = [phase for phase in self._phases if phase.alive()]
        count = sum(len(phase.processes()) for phase in survivors)
        while time.monotonic() < until and any(phase.alive() for phase in survivors):
            self._end_overgrown()
            self._samples.extend(phase.sample() for phase in survivors if phase.alive())
            time.sleep(min(0.25, max(until - time.monotonic(), 0)))
        left = sum(len(phase.processes()) for phase in survivors if phase.alive())
        reason = f"{count} processes had outlived their phase, {left} were ended" if count else ""
        return Phase(name="linger", status="completed", reason=reason, started=started, ended=time.time())

    def stop(self) -> tuple[str, ...]:
        """End everything; see `Pod.stop`."""
        unfinished = (*self._overgrown, *(phase.name for phase in self._phases if not phase.end()))
        for phase in self._phases:
            phase.close()
        init, self._init = self._init, None
        if init is not None:
            _stop_init(init)
        self._phases.clear()
        return unfinished

    def samples(self) -> tuple[Sample, ...]:
        """See `Pod.samples`."""
        return tuple(self._samples)

    def _find_stage(self) -> str:
        needed = [str(self._plan.rootfs), str(self._plan.artefact), str(self._directory), sys.prefix, sys.base_prefix]
        needed += [str(Path(__file__).resolve()), str(self._plan.gateway.registry_socket)]
        for stage in _STAGES:
            if Path(stage).is_dir() and not any(path.startswith(f"{stage}/") for path in needed):
                return stage
        raise PodError(f"none of {', '.join(_STAGES)} is free to mount the pod on; move fumehood out of them")

    def _start(self) -> None:
        for name in ("traces", "output", "gateway"):
            (self._directory / name).mkdir()
        plan = self._init_plan()
        self._init = init = subprocess.Popen(
            [sys.executable, "-m", "sandbox.pod.init"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=our_environment(),
            cwd="/",
            start_new_session=True,
        )
        _tell(init, msgspec.json.encode(plan))
        _expect(init, "namespaces")
        self._map_users(init.pid)
        _tell(init, b"mapped")
        _expect(init, "ready")
        self._first = psutil.Process(init.pid).children()[0].pid

    def _map_users(self, pid: int) -> None:
        process = Path(f"/proc/{pid}")
        outside = f"0 {os.getuid()} 1\n", f"0 {os.getgid()} 1\n"
        if self._ranges > 1:
            own = f"{TRACEE_UID} {_HOST_UIDS + secrets.randbelow(1_000_000)} 1\n"
            outside = outside[0] + own, outside[1] + own
        else:
            (process / "setgroups").write_text("deny")
        try:
            (process / "uid_map").write_text(outside[0])
            (process / "gid_map").write_text(outside[1])
        except OSError as error:
            raise PodError(f"the kernel refuses to map users into the pod: {error.strerror}; {_ADVICE}") from error

    def _init_plan(self) -> InitPlan:
        plan = self._plan
        directory = self._directory / "gateway"
        (directory / "ca.pem").write_bytes(plan.gateway.certificate_pem)
        (directory / "ca.key").write_bytes(plan.gateway.key_pem)
        config = directory / "config.json"
        config.write_bytes(msgspec.json.encode(self._gateway_config(directory)))
        files = etc.files(plan.user, plan.hostname, plan.rootfs, plan.gateway.certificate_pem, plan.pip_conf)
        home = plan.home.lstrip("/")
        return InitPlan(
            stage=self._stage,
            rootfs=str(plan.rootfs),
            disk_bytes=plan.limits.disk_mb * _MEGABYTE,
            owner=TRACEE_UID if self._ranges > 1 else 0,
            home=plan.home,
            files={**files, **{f"{home}/{name}": content for name, content in plan.files.items()}},
            links={f"{home}/{name}": target for name, target in plan.links.items()},
            private=tuple(f"{home}/{name}" for name in sorted(plan.private)),
            artefact=str(plan.artefact),
            tcp_port=_TCP_PORT,
            dns_port=_DNS_PORT,
            ip=self._tools.ip,
            nft=self._tools.nft,
            gateway=tuple(tracee.gateway(self._tools, directory, config, plan.gateway.registry_socket)),
            gateway_environment=our_environment(),
            gateway_log=str(directory / "log"),
        )

    def _gateway_config(self, directory: Path) -> GatewayConfig:
        limits, gateway = self._plan.limits, self._plan.gateway
        scratch = directory / "scratch"
        scratch.mkdir(mode=0o700)
        return GatewayConfig(
            tcp_port=_TCP_PORT,
            dns_port=_DNS_PORT,
            records=str(directory / "gateway.jsonl"),
            scratch=str(scratch),
            ca_certificate=str(directory / "ca.pem"),
            ca_key=str(directory / "ca.key"),
            registry_socket=str(gateway.registry_socket) if gateway.registry_hosts else "",
            registry_hosts=gateway.registry_hosts,
            metadata=_metadata(gateway.metadata),
            limits=GatewayLimits(record_bytes=limits.gateway_mb * _MEGABYTE, connections=limits.connections),
        )


def _metadata(planted: Mapping[str, str]) -> Metadata:
    if not planted:
        return Metadata()
    return Metadata(role=planted["role"], document=planted["credentials"], token=planted["token"])


_ADVICE = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone) or run as root"


def _tell(init: subprocess.Popen[bytes], line: bytes) -> None:
    if init.stdin is not None:
        init.stdin.write(line + b"\n")
        init.stdin.flush()


def _expect(init: subprocess.Popen[bytes], wanted: str) -> None:
    line = init.stdout.readline().decode(errors="backslashreplace").strip() if init.stdout is not None else ""
    if line != wanted:
        said = line.removeprefix("error ") or "its first process ended"
        advice = f"; {_ADVICE}" if wanted == "namespaces" else ""
        raise PodError(f"the pod did not start: {said}{advice}")


def _stop_init(init: subprocess.Popen[bytes]) -> None:
    """Ask process 1 to end in order, so that the gateway writes what is pending; then make sure."""
    with contextlib.suppress(BrokenPipeError):
        _tell(init, b"stop")
    if init.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            init.stdin.close()
    try:
        init.wait(timeout=10)
    except subprocess.TimeoutExpired:
        for process in psutil.Process(init.pid).children():
            process.kill()
        init.kill()
        init.wait()
    if init.stdout is not None:
        init.stdout.close()


def _coverage(result: bytes) -> Coverage | None:
    """What a driver said it reached; a package that tampers with it makes the phase look unfinished, not finished."""
    try:
        return msgspec.json.decode(result, type=Coverage)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _with_status(phase: Phase, ended: str, command: PhaseCommand, traced: TracedPhase, stderr: Path) -> Phase:
    replace = msgspec.structs.replace
    reason = ""
    if ended == "timed-out":
        phase = replace(phase, status="timed-out", reason=f"not finished after {command.budget.seconds} s")
    elif ended:
        phase = replace(phase, status="killed", reason=f"ended by us: its {ended} had reached the limit")
    elif not traced.started_inside or phase.exit_code is None:
        lines = stderr.read_text(errors="backslashreplace").strip().splitlines() if stderr.exists() else []
        said = lines[-1][:200] if lines else "the tracer said nothing"
        reason = f"could not be run in the pod: {said}"
        phase = replace(phase, trace_complete=False)
    elif phase.exit_code != 0:
        reason = f"exit code {phase.exit_code}"
    elif command.reports_coverage and phase.coverage is None:
        reason = "its driver was disturbed: it did not report what it reached"
    return replace(phase, status="failed", reason=reason) if reason else phase
