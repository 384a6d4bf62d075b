"""Whether a pod sees everything on this machine: a known program runs in it, whose calls and connections are counted.

A tracer that loses events would make a package look better than it is: gVisor, for one, loses about half of them when
strace asks for `--seccomp-bpf`. So would a runtime with a network of its own, from which nothing reaches the gateway.
Each kind of pod is therefore tried once on each machine, and what was found is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec

from sandbox.errors import PodError
from sandbox.pod import known_program
from sandbox.pod.interface import PhaseCommand, Pod, PodPlan
from sandbox.profile import Limits, PhaseBudget
from sandbox.tracer import TracerMode

if TYPE_CHECKING:
    from collections.abc import Callable

MakePod: TypeAlias = "Callable[[PodPlan, Path], Pod]"
Outcome: TypeAlias = Literal["passed", "not-completed"]

_SECONDS = 120
_LIMITS = Limits(
    memory_mb=2048,
    address_mb=8192,
    processes=1024,
    file_mb=64,
    disk_mb=256,
    open_files=1024,
    cpu_seconds=120,
    output_kb=64,
    trace_mb=64,
    gateway_mb=16,
    body_kb=64,
    connections=64,
)
"""Not the profile's: these may be too small for any program, which says nothing of the tracer."""
_DEFAULT: TracerMode = "seccomp-bpf"


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a kind of pod."""

    mode: TracerMode
    outcome: Outcome
    reason: str = ""
    """Why the self-test did not complete; one line."""


NOT_COMPLETED = Tested(mode=_DEFAULT, outcome="not-completed")


class _Kept(msgspec.Struct, frozen=True):
    """The file in the cache."""

    key: tuple[str, ...]
    mode: TracerMode


class _Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the known program."""

    incomplete: str = ""
    lost: str = ""
    unreached: str = ""


def tracer(make: MakePod, plan: PodPlan, key: tuple[str, ...], cache: Path, directory: Path) -> Tested:
    """The fastest way of tracing that loses nothing.

    Args:
        make: Makes a pod.
        plan: What to make it from; its limits and what is planted in it are not used.
        key: What the answer depends on: pod, runtime, kernel, programs, our own code.
        cache: fumehood's cache directory.
        directory: Existing private directory of the run; pods get one of their own in it, which is removed again.

    Returns:
        The way of tracing. Only a test that completed is kept; after one that did not, whatever the reason was, the
        way is the default one and the outcome says that it is not proven.

    Raises:
        PodError: The test has completed, and calls are lost either way, or the network does not reach the gateway.
    """
    path = cache / "tracer" / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:16]}.json"
    if (kept := _read(path)) is not None and kept.key == key:
        return Tested(mode=kept.mode, outcome="passed")
    modes: tuple[TracerMode, ...] = get_args(TracerMode)
    tried = _Tried()
    for mode in modes:
        try:
            tried = _try(make, _plain(plan, mode), directory)
        except PodError as error:
            tried = _Tried(incomplete=str(error))
        except OSError as error:
            # A machine that is short of processes, memory or disk: the run itself will meet it too, or it has passed.
            tried = _Tried(incomplete=_not_completed(str(error)))
        if tried.incomplete:
            # Whatever it was may be gone a moment later: nothing is kept, and nothing follows for the way of tracing.
            return msgspec.structs.replace(NOT_COMPLETED, reason=tried.incomplete)
        if tried.unreached:
            raise PodError(
                f"{tried.unreached} of the pod's self-test did not reach the gateway: the runtime has a network of its "
                "own (gVisor needs the runtime argument --network=host, docs/docker.md); use another --pod or --runtime"
            )
        if not tried.lost:
            _keep(path, _Kept(key=key, mode=mode))
            return Tested(mode=mode, outcome="passed")
    raise PodError(f"the tracer loses calls in this pod ({tried.lost}): use another --pod or --runtime")


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None


def _keep(path: Path, kept: _Kept) -> None:
    """Write the answer down; where that cannot be, the next run asks again."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(kept))
        partial.replace(path)


def _plain(plan: PodPlan, mode: TracerMode) -> PodPlan:
    """The plan for the known program: nothing of the profile's that could keep it from running."""
    return msgspec.structs.replace(
        plan,
        files={},
        private=frozenset(),
        links={},
        environment={"PATH": "/usr/bin:/bin", "HOME": plan.home, "LANG": "C.UTF-8"},
        pip_conf=b"",
        limits=_LIMITS,
        gateway=msgspec.structs.replace(plan.gateway, registry_hosts=(), metadata={}),
        tracer_mode=mode,
    )


def _try(make: MakePod, plan: PodPlan, directory: Path) -> _Tried:
    """Run the known program once, and look at what is left of it."""
    command = PhaseCommand(name="self-test", argv=known_program.ARGV, budget=PhaseBudget(seconds=_SECONDS))
    with tempfile.TemporaryDirectory(prefix="self-test-", dir=directory) as place:
        with make(plan, Path(place)) as pod:
            phase = pod.run(command, lambda _: None)
            unfinished = pod.stop()
        trace = Path(place, "traces", f"{command.name}.strace")
        text = trace.read_text(errors="backslashreplace") if trace.exists() else ""
        records = Path(place, "gateway", "gateway.jsonl")
        network = known_program.network(records.read_bytes().splitlines() if records.exists() else ())
    checks = (
        (phase.status == "completed", f"its program {phase.status} ({phase.reason})"),
        (phase.trace_complete and not unfinished, "the tracer did not come to its end"),
        (network.whole, "the gateway did not come to its end"),
    )
    for good, why in checks:
        if not good:
            return _Tried(incomplete=_not_completed(why))
    return _Tried(lost=known_program.missing_calls(text), unreached=network.missing)


def _not_completed(why: str) -> str:
    return f"the tracer's self-test could not be completed: {why}; try again"
