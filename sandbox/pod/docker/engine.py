"""The connection to the Docker engine; everything that may be wrong with it becomes one line with what to do."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import msgspec
import requests
import urllib3

from sandbox.errors import PodError
from sandbox.pod import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from docker import DockerClient

_TIMEOUT_SECONDS = 120
_OLDEST_API = (1, 40)
"""Docker 19.03: the first that has all we ask for."""
_UNIX = "unix://"
_LOCAL = f"{_UNIX}/var/run/docker.sock"
_SHOWN = 300

_ADVICE_ON_THE_WAY: tuple[tuple[str, str], ...] = (
    ("permission denied", "may not talk to the Docker engine: add this user to the group `docker`, or run as root"),
    ("no such file", "there is no Docker engine: start it, install it (docs/docker.md), or use --pod bubblewrap"),
    ("connection refused", "the Docker engine does not answer: start it (systemctl start docker)"),
)
"""For what keeps us from the engine. One that answers may say the same words of its own files and programs."""
_ADVICE: tuple[tuple[str, str], ...] = (
    ("root network namespace", "gVisor needs the runtime argument --network=host (docs/docker.md)"),
    (
        "fork/exec",
        "the runtime's program is missing or cannot be run: install it, or mend its path (docs/docker.md)",
    ),
    ("no space left", "the disk that holds Docker's data is full: free some, for instance with `docker system prune`"),
    ("unknown runtime", "the engine does not know this runtime: register it (docs/docker.md)"),
    ("unknown or invalid runtime", "the engine does not know this runtime: register it (docs/docker.md)"),
    ("oci runtime", "the runtime does not work: are its path and its arguments right in /etc/docker/daemon.json?"),
    ("no such image", "the image has been removed meanwhile: run again, it is then built"),
    ("client version", "the Docker engine is too old or too new for the docker library: version 19.03 is the oldest"),
    ("no longer supported by this library", "the Docker engine is too old: install Docker 19.03 or newer"),
    ("connection aborted", "the Docker engine went away: look at its log (journalctl -u docker)"),
    ("read timed out", f"the Docker engine has not answered for {_TIMEOUT_SECONDS} s: look at its log"),
)


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn whatever the engine or the way to it refuses into a `PodError`.

    Args:
        doing: What is being tried, as in `cannot {doing}`.

    Raises:
        PodError: With one line that says what to do.
    """
    try:
        yield
    except (
        docker.errors.DockerException,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        raise PodError(explain(doing, error)) from error


def explain(doing: str, error: BaseException) -> str:
    """The line for an error."""
    answered = isinstance(error, docker.errors.APIError)
    said = " ".join(str(getattr(error, "explanation", None) or error).split())
    lower = said.lower()
    shown = said if len(said) <= _SHOWN else f"…{said[-_SHOWN:]}"
    for sign, advice in _ADVICE if answered else (*_ADVICE_ON_THE_WAY, *_ADVICE):
        if sign in lower:
            return f"cannot {doing}: {advice} ({shown})"
    return f"cannot {doing}: the Docker engine says: {shown}"


class Runtime(msgspec.Struct, frozen=True):
    """A runtime that is registered with the engine."""

    fingerprint: str
    """How it is registered, and which file it is; changes when either does."""


class Engine(msgspec.Struct, frozen=True):
    """An engine that can hold pods."""

    runtimes: dict[str, Runtime]
    fingerprint: str
    """Versions of the engine and its parts, and how it secures containers."""


def connect() -> DockerClient:
    """Connect to the engine that DOCKER_HOST names, else to the local one.

    Raises:
        PodError: There is none, it may not be used, it is too old, or it is on another machine.
    """
    host = os.environ.get("DOCKER_HOST") or _LOCAL
    if not host.startswith(_UNIX):
        raise PodError(
            f"cannot use Docker: DOCKER_HOST is {host}, but the engine must be on this machine, as fumehood and its "
            f"containers look at the same files: unset it, or set it to {_UNIX}/PATH"
        )
    with explained("use Docker"):
        _reach(host.removeprefix(_UNIX))
        client = docker.DockerClient(base_url=host, timeout=_TIMEOUT_SECONDS, version="auto")
        version = str(client.api.api_version)
    if tuple(int(part) for part in version.split(".")) < _OLDEST_API:
        client.close()
        raise PodError(f"cannot use Docker: its API version {version} is too old; install Docker 19.03 or newer")
    return client


def _reach(path: str) -> None:
    """Try the engine's socket: quicker and clearer than the library, which leaves its own open when it fails."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            error.filename = path  # so that it says which
            raise


def describe(client: DockerClient) -> Engine:
    """Look at an engine.

    Raises:
        PodError: It cannot hold a pod; the line says why and what to do.
    """
    with explained("ask Docker what it is"):
        told: dict[str, Any] = client.info()
    if refused := _unfit(told):
        raise PodError(f"cannot use Docker: {refused}")
    parts = ("ServerVersion", "Driver", "CgroupVersion", "SecurityOptions", "ContainerdCommit", "RuncCommit")
    return Engine(
        runtimes={name: Runtime(_registered(entry)) for name, entry in (told.get("Runtimes") or {}).items()},
        fingerprint=json.dumps([told.get(part) for part in parts], sort_keys=True),
    )


def _registered(entry: dict[str, Any]) -> str:
    # `status` is what the runtime says of itself, and newer engines ask it each time.
    known = {name: value for name, value in entry.items() if name != "status"}
    return f"{json.dumps(known, sort_keys=True)} {fingerprint.program(str(entry.get('path', '')))}"


def _unfit(told: dict[str, Any]) -> str:
    """Why an engine that tells this of itself cannot hold a pod, and what to do; empty when it can."""
    options = {str(option).partition(",")[0] for option in told.get("SecurityOptions") or ()}
    instead = "or use --pod bubblewrap"
    if (kernel := told.get("KernelVersion")) != platform.release():
        return (
            f"the engine runs on another kernel ({kernel}), so on another machine or in a virtual one, but must look "
            f"at the same files as fumehood: use one that runs here, {instead}"
        )
    if "name=rootless" in options:
        return (
            "the engine is rootless: the users of its containers are not those of this machine, and the gateway could "
            f"not write its records: use the engine of the system, {instead}, which needs no root either"
        )
    if "name=userns" in options:
        return (
            "the engine maps its containers' users to others (userns-remap), to whom the run's directory is closed: "
            f"start it without that, {instead}"
        )
    if "name=seccomp" not in options:
        return (
            "the engine has no seccomp, by which system calls are refused: use one that is built with it, on a kernel "
            f"with CONFIG_SECCOMP_FILTER, {instead}"
        )
    lacking = [
        what for what, name in (("memory", "MemoryLimit"), ("processes", "PidsLimit")) if told.get(name) is False
    ]
    if lacking:
        return (
            f"the engine cannot limit {' or '.join(lacking)}: have the kernel's control groups `memory` and `pids` "
            f"enabled, {instead}"
        )
    return ""


def runtimes(client: DockerClient) -> tuple[str, ...]:
    """Names of the runtimes that are registered with the engine, sorted."""
    with explained("ask Docker for its runtimes"):
        return tuple(sorted(client.info().get("Runtimes") or {}))


def unknown_runtime(name: str, known: Iterable[str]) -> str:
    """The line for a runtime that is not registered."""
    # Those with dots are containerd's own names for the others.
    named = ", ".join(sorted(other for other in known if "." not in other)) or "none, it seems"
    return f"Docker does not know the runtime {name!r}: use one of {named}, or register it (docs/docker.md)"
