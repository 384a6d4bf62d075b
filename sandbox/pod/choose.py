"""Which pod a run gets: as asked, or the strongest that works here.

The order of `auto`: a Docker runtime with a kernel of its own (gVisor, Kata); then the embedded pod, whose package is
an unprivileged user in a user namespace, with the tracer out of its sight; then Docker with runc, which shares the
kernel as well, and whose containers a root daemon starts.
"""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from sandbox.errors import PodError, UsageError
from sandbox.pod import selftest
from sandbox.pod.bubblewrap import BubblewrapPod
from sandbox.pod.selftest import MakePod
from sandbox.pod.tools import find_tools, tool_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.pod.interface import Pod, PodPlan

PodName: TypeAlias = Literal["auto", "bubblewrap", "docker"]

_LOCAL_ENGINE = Path("/var/run/docker.sock")
_SHARED_KERNEL = "runc"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    pod: PodName = "bubblewrap"
    runtime: str = ""
    """Name of a Docker runtime; empty for the strongest that is registered."""


class _Candidate(msgspec.Struct, frozen=True):
    """A kind of pod that may work here."""

    name: str
    why: str
    make: MakePod
    key: tuple[str, ...]


def choose(wanted: Wanted, plan: PodPlan, directory: Path, cache: Path, tell: Callable[[str], None]) -> Pod:
    """Choose and make a pod; entering it starts it.

    Args:
        wanted: What was asked for.
        plan: What to make.
        directory: Existing private directory for the run's evidence.
        cache: fumehood's cache directory, for the self-test's answers.
        tell: Told which pod it is, and why.

    Raises:
        UsageError: A runtime for a pod that has none.
        PodError: What was asked for does not work here, or nothing does.
    """
    if wanted.runtime and wanted.pod == "bubblewrap":
        raise UsageError("--runtime is for --pod docker; the embedded pod has none")
    failed: list[str] = []
    for candidate in _candidates(wanted, failed):
        try:
            mode = selftest.tracer_mode(candidate.make, plan, candidate.key, cache)
        except PodError as error:
            failed.append(f"{candidate.name}: {error}")
            continue
        if wanted.pod != "bubblewrap":
            tell(f"pod: {candidate.name} ({candidate.why})" + "".join(f"; not {why}" for why in failed))
        return candidate.make(msgspec.structs.replace(plan, tracer_mode=mode), directory)
    raise PodError("; ".join(failed) if len(failed) > 1 else failed[0].partition(": ")[2])


def _candidates(wanted: Wanted, failed: list[str]) -> Iterator[_Candidate]:
    """Strongest first. What is known not to be there is noted in `failed`."""
    if wanted.pod == "bubblewrap":
        yield _bubblewrap()
        return
    docker: list[_Candidate] = []
    if wanted.pod == "docker" or _has_engine():
        try:
            docker = _docker(wanted.runtime)
        except PodError as error:
            failed.append(f"docker: {error}")
    yield from (candidate for candidate in docker if candidate.key[1] != _SHARED_KERNEL)
    if wanted.pod == "auto" and not wanted.runtime:
        yield _bubblewrap()
    yield from (candidate for candidate in docker if candidate.key[1] == _SHARED_KERNEL)


def _has_engine() -> bool:
    """Quick, and without loading the docker library."""
    return bool(os.environ.get("DOCKER_HOST")) or _LOCAL_ENGINE.exists()


def _bubblewrap() -> _Candidate:
    versions = tool_versions(find_tools())
    return _Candidate(
        name="bubblewrap",
        why="no daemon, an unprivileged user namespace; the kernel is shared",
        make=BubblewrapPod,
        key=("bubblewrap", "", platform.release(), versions["strace"], versions["bwrap"]),
    )


def _docker(runtime: str) -> list[_Candidate]:
    from sandbox.pod.docker import engine
    from sandbox.pod.docker.pod import DockerPod

    client = engine.connect()
    try:
        with engine.explained("ask Docker for its runtimes"):
            information = client.info()
    finally:
        client.close()
    known: dict[str, dict[str, str]] = information.get("Runtimes", {})
    if runtime and runtime not in known:
        raise PodError(
            f"Docker does not know the runtime {runtime!r}: use one of {', '.join(sorted(known))}, "
            "or register it (docs/docker.md)"
        )
    strace = tool_versions(find_tools())["strace"]
    engine_version = str(information.get("ServerVersion", ""))
    found = []
    for name in (runtime,) if runtime else _strongest_first(known):
        shared = name == _SHARED_KERNEL
        found.append(
            _Candidate(
                name=f"docker with {name}",
                why="the kernel is shared" if shared else "the package gets a kernel of its own",
                make=functools.partial(DockerPod, runtime=name),
                key=("docker", name, platform.release(), strace, engine_version, _binary(known[name].get("path", ""))),
            )
        )
    return found


def _strongest_first(known: dict[str, dict[str, str]]) -> tuple[str, ...]:
    own = sorted(name for name in known if name.startswith(("kata", "runsc")))
    return (*own, *((_SHARED_KERNEL,) if _SHARED_KERNEL in known else ()))


def _binary(path: str) -> str:
    """What tells one version of a runtime from the next, where it lies on this machine."""
    if not path or not Path(path).is_absolute() or not Path(path).exists():
        return path
    seen = Path(path).stat()
    return f"{path}:{seen.st_size}:{seen.st_mtime_ns}"
