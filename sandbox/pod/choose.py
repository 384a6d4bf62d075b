"""Which pod a run gets: as asked, or the strongest that works here.

The order of `auto`: Docker with gVisor, which gives the package a kernel of its own; then the embedded pod, whose
package is an unprivileged user in a user namespace, with the tracer out of its sight; then Docker with runc, which
shares the kernel as well, and whose containers a root daemon starts. What we have not tried is for `--runtime`.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from sandbox.errors import PodError, UsageError
from sandbox.pod import fingerprint, selftest
from sandbox.pod.bubblewrap import BubblewrapPod
from sandbox.pod.selftest import MakePod
from sandbox.pod.tools import find_tools, tool_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sandbox.pod.docker.engine import Engine
    from sandbox.pod.interface import Pod, PodPlan

PodName: TypeAlias = Literal["auto", "bubblewrap", "docker"]

_LOCAL_ENGINE = Path("/var/run/docker.sock")
_SHARED_KERNEL = "runc"
_GVISOR = "docker with runsc"
_TRIED = "runsc"
"""What the names of gVisor's runtimes begin with; people register several, with other arguments. Of those with a
kernel of their own, only these have been tried."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    pod: PodName = "bubblewrap"
    runtime: str = ""
    """Name of a Docker runtime; empty for the strongest that is registered."""


def check(wanted: Wanted) -> None:
    """Refuse what cannot be, before anything is begun.

    Raises:
        UsageError: A runtime for a pod that has none.
    """
    if wanted.runtime and wanted.pod == "bubblewrap":
        raise UsageError("--runtime is for --pod docker; the embedded pod has none")


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of pod that may work here."""

    name: str
    why: str
    make: MakePod
    key: tuple[str, ...]
    """What the self-test's answer depends on."""
    shares_kernel: bool
    needs_proof: bool
    """Whether it is refused when its self-test cannot be completed. A run without proof is never `clean`."""


def choose(wanted: Wanted, plan: PodPlan, directory: Path, cache: Path, tell: Callable[[str], None]) -> Pod:
    """Choose and make a pod; entering it starts it.

    Args:
        wanted: What was asked for.
        plan: What to make.
        directory: Existing private directory for the run's evidence.
        cache: fumehood's cache directory, for the self-test's answers.
        tell: Told which pod it is, and why.

    Returns:
        The pod. Its `isolation` says whether the self-test has shown that it sees everything.

    Raises:
        UsageError: A runtime for a pod that has none.
        PodError: What was asked for does not work here, or nothing does.
    """
    check(wanted)
    failed: list[tuple[str, str]] = []
    unproven: _Candidate | None = None
    for candidate in _candidates(wanted, failed):
        try:
            tested = selftest.tracer(candidate.make, plan, candidate.key, cache, directory)
        except PodError as error:
            failed.append((candidate.name, str(error)))
            continue
        # An interrupted run has its pod too, in which no phase runs: it ends like any other that was interrupted.
        if tested.outcome == "passed" or plan.interrupted():
            if wanted.pod != "bubblewrap":
                tell(f"pod: {candidate.name} ({candidate.why})" + "".join(f"; not {n}: {why}" for n, why in failed))
            return _made(candidate, tested, plan, directory)
        failed.append((candidate.name, tested.reason))
        if not candidate.needs_proof:
            unproven = candidate
    if unproven is None:
        raise PodError("; ".join(f"{n}: {why}" for n, why in failed) if len(failed) > 1 else failed[0][1])
    told = "; ".join(f"{name}: {why}" for name, why in failed)
    tell(f"pod: {unproven.name}, not proven to see everything, so that this run is not called clean ({told})")
    return _made(unproven, selftest.NOT_COMPLETED, plan, directory)


def _made(candidate: _Candidate, tested: selftest.Tested, plan: PodPlan, directory: Path) -> Pod:
    pod = candidate.make(msgspec.structs.replace(plan, tracer_mode=tested.mode), directory)
    pod.isolation = msgspec.structs.replace(pod.isolation, self_test=tested.outcome)
    return pod


def _candidates(wanted: Wanted, failed: list[tuple[str, str]]) -> Iterator[_Candidate]:
    """Strongest first. What is known not to be there is noted in `failed`."""
    if wanted.pod == "bubblewrap":
        yield _bubblewrap()
        return
    docker: list[_Candidate] = []
    # A runtime is Docker's: without an engine its own line says so.
    if wanted.pod == "docker" or wanted.runtime or _has_engine():
        try:
            docker = _docker(wanted.runtime)
        except PodError as error:
            failed.append(("docker", str(error)))
        else:
            if wanted == Wanted(pod="auto") and all(candidate.shares_kernel for candidate in docker):
                failed.append((_GVISOR, "no runtime of the engine's is called so (docs/docker.md)"))
    else:
        failed.append((_GVISOR, "there is no Docker engine"))
    yield from (candidate for candidate in docker if not candidate.shares_kernel)
    if wanted.pod == "auto" and not wanted.runtime:
        yield _bubblewrap()
    yield from (candidate for candidate in docker if candidate.shares_kernel)


def _has_engine() -> bool:
    """Quick, and without loading the docker library."""
    return bool(os.environ.get("DOCKER_HOST")) or _LOCAL_ENGINE.exists()


def _bubblewrap() -> _Candidate:
    return _Candidate(
        name="bubblewrap",
        why="no daemon, an unprivileged user namespace; the kernel is shared",
        make=BubblewrapPod,
        key=("bubblewrap", *_machine()),
        shares_kernel=True,
        needs_proof=False,
    )


def _machine() -> tuple[str, ...]:
    """What every answer depends on."""
    tools = find_tools()
    programs = (f"{name} {version}" for name, version in tool_versions(tools).items())
    files = (fingerprint.program(path) for path in msgspec.structs.astuple(tools))
    return (fingerprint.kernel(), str(os.getuid()), fingerprint.our_code(), *programs, *files)


def _docker(runtime: str) -> list[_Candidate]:
    from sandbox.pod.docker import engine

    client = engine.connect()
    try:
        here = engine.describe(client)
    finally:
        client.close()
    if runtime and runtime not in here.runtimes:
        raise PodError(engine.unknown_runtime(runtime, here.runtimes))
    names = (runtime,) if runtime else _strongest_first(here.runtimes)
    if not names:
        raise PodError(f"Docker has neither gVisor nor {_SHARED_KERNEL}: name one of its runtimes with --runtime")
    machine = _machine()
    return [_with_runtime(name, here, machine) for name in names]


def _with_runtime(name: str, here: Engine, machine: tuple[str, ...]) -> _Candidate:
    from sandbox.pod.docker.pod import DockerPod
    from sandbox.pod.docker.tracee import has_own_kernel

    shared = not has_own_kernel(name)
    why = "the kernel is shared" if shared else "the package gets a kernel of its own"
    if shared and name != _SHARED_KERNEL:
        why = "as asked for; whose kernel it uses is not known"
    return _Candidate(
        name=f"docker with {name}",
        why=why,
        make=functools.partial(DockerPod, runtime=name),
        key=("docker", name, here.runtimes[name].fingerprint, here.fingerprint, *machine),
        shares_kernel=shared,
        needs_proof=True,
    )


def _strongest_first(known: Collection[str]) -> tuple[str, ...]:
    own = sorted(name for name in known if name.startswith(_TRIED))
    return (*own, *((_SHARED_KERNEL,) if _SHARED_KERNEL in known else ()))
