"""The connection to the Docker engine; everything that may be wrong with it becomes one line with what to do."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import docker
import docker.errors
import requests
import urllib3

from sandbox.errors import PodError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

_TIMEOUT_SECONDS = 120
_OLDEST_API = (1, 40)
"""Docker 19.03: the first that has all we ask for."""
_LOCAL = "unix:///var/run/docker.sock"
_SHOWN = 300

_ADVICE: tuple[tuple[str, str], ...] = (
    ("permission denied", "may not talk to the Docker engine: add this user to the group `docker`, or run as root"),
    ("no such file", "there is no Docker engine: start it (systemctl start docker), or use --pod bubblewrap"),
    ("connection refused", "the Docker engine does not answer: start it (systemctl start docker)"),
    ("no space left", "the disk that holds Docker's data is full: free some, for instance with `docker system prune`"),
    ("unknown runtime", "the engine does not know this runtime: register it (docs/docker.md)"),
    ("unknown or invalid runtime", "the engine does not know this runtime: register it (docs/docker.md)"),
    ("no such image", "the image has been removed meanwhile: run again, it is then built"),
    ("client version", "the Docker engine is too old or too new for the docker library: version 19.03 is the oldest"),
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
    said = error.explanation if isinstance(error, docker.errors.APIError) and error.explanation else str(error)
    said = " ".join(said.split())[:_SHOWN]
    lower = said.lower()
    for sign, advice in _ADVICE:
        if sign in lower:
            return f"cannot {doing}: {advice} ({said})"
    return f"cannot {doing}: the Docker engine says: {said}"


def connect() -> DockerClient:
    """Connect to the engine that DOCKER_HOST names, else to the local one.

    Raises:
        PodError: There is none, it may not be used, or it is too old.
    """
    with explained("use Docker"):
        _reach(os.environ.get("DOCKER_HOST") or _LOCAL)
        client = docker.from_env(timeout=_TIMEOUT_SECONDS, version="auto")
        version = str(client.api.api_version)
    if tuple(int(part) for part in version.split(".")) < _OLDEST_API:
        client.close()
        raise PodError(f"cannot use Docker: its API version {version} is too old; install Docker 19.03 or newer")
    return client


def _reach(host: str) -> None:
    """Try a local engine's socket: quicker and clearer than the library, which leaves its own open when it fails."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(host.removeprefix("unix://"))


def runtimes(client: DockerClient) -> tuple[str, ...]:
    """Names of the runtimes that are registered with the engine, sorted."""
    with explained("ask Docker for its runtimes"):
        return tuple(sorted(client.info().get("Runtimes", {})))
