"""Containers that killed runs left in this host's Docker engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sandbox.database import writing
from sandbox.database.counters import Tally

if TYPE_CHECKING:
    from sqlalchemy import Engine

_log = structlog.get_logger(__name__)
_DOCKER: Final = Path("/var/run/docker.sock")


def engine_may_answer() -> bool:
    """Whether there is a Docker engine here to be asked."""
    return "DOCKER_HOST" in os.environ or os.access(_DOCKER, os.W_OK)


def remove_orphans(engine: Engine) -> None:
    """Remove them, and count them in the database.

    Raises:
        PodError: The Docker engine does not answer, or refuses.
    """
    # The docker library is loaded only where there is an engine.
    from sandbox.pod.docker import engine as docker  # noqa: PLC0415
    from sandbox.pod.docker import labels  # noqa: PLC0415

    client = docker.connect()
    try:
        removed = labels.remove_orphans(client).containers
    finally:
        client.close()
    if removed:
        _log.warning("orphaned containers were removed", containers=removed)
        count(engine, len(removed))


def count(engine: Engine, removed: int) -> None:
    """Count in the database what was removed; the Docker pod of a run removes some too when it starts."""
    tally = Tally()
    tally.add("orphan_pods_total", removed)
    with writing(engine) as connection:
        tally.write(connection)
