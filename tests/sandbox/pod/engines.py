"""Which pods can be started here. Without an engine the Docker ones are skipped, loudly; CI starts one."""

from __future__ import annotations

import functools
import os

import pytest

from sandbox.errors import PodError
from sandbox.pod.docker import engine

RUNTIMES = ("runc", "runsc")
POD_NAMES = ("bubblewrap", *(f"docker-{runtime}" for runtime in RUNTIMES))
NEEDED = "FUMEHOOD_TEST_DOCKER"
"""Set to `required` where a missing engine is an error, as in CI."""


@functools.cache
def _known_runtimes() -> tuple[tuple[str, ...], str]:
    try:
        client = engine.connect()
    except PodError as error:
        return (), str(error)
    try:
        return engine.runtimes(client), ""
    finally:
        client.close()


def lack(name: str) -> str:
    """Why this pod cannot be had; empty when it can."""
    if name == "bubblewrap":
        return ""
    runtime = name.partition("-")[2]
    known, why = _known_runtimes()
    return "" if runtime in known else why or f"Docker does not know the runtime {runtime}; see docs/docker.md"


def need(name: str) -> None:
    """Skip the test that needs this pod when it cannot be had."""
    reason = lack(name)
    if reason and os.environ.get(NEEDED) == "required":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
