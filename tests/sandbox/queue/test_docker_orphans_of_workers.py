"""A host that died leaves containers in its engine: the next worker on it removes them, and counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.database.counters import read
from sandbox.pod.docker import engine, labels
from sandbox.queue import enqueue
from tests.sandbox.pod import engines
from tests.sandbox.queue.service import kill_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from tests.sandbox.queue.service import Service

pytestmark = [pytest.mark.docker, pytest.mark.pod, pytest.mark.alone, pytest.mark.usefixtures("base_image")]


@pytest.fixture
def client() -> Iterator[DockerClient]:
    engines.need("docker-runc")
    found = engine.connect()
    yield found
    found.close()


def _tracees(client: DockerClient) -> set[str]:
    """Ids of the containers in which packages are, whoever's."""
    found = client.api.containers(all=True, filters={"label": f"{labels.ROLE}=tracee"})
    return {str(entry["Id"]) for entry in found}


def test_what_a_dead_host_left_in_docker_is_removed_and_counted(client: DockerClient, embedded: Service) -> None:
    before = _tracees(client)
    identifier = embedded.submit(waits=True, pod="docker")
    enqueue(embedded.redis, [embedded.row(identifier)])
    worker = embedded.start_worker()
    embedded.running(identifier, "import")
    left = _tracees(client) - before
    assert left
    kill_all(worker)
    assert left <= _tracees(client), "the engine's containers outlive their worker"
    embedded.start_worker()
    embedded.wait(lambda: not left & _tracees(client), "the removal of what the dead host left")
    # Its work is done again here, in containers that are nobody's orphans.
    embedded.wait(lambda: embedded.row(identifier).attempt == 2, "the next attempt")
    embedded.running(identifier, "import")
    assert _tracees(client) - before - left
    with embedded.engine.connect() as connection:
        assert sum(read(connection)["orphan_pods_total"].values()) >= len(left)
    assert embedded.fumehood("queue", "cancel", identifier).returncode == 0
    assert embedded.ended(identifier).state == "cancelled"
    assert _tracees(client) & left == set()
