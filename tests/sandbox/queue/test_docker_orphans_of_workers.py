"""A host that died leaves containers in its engine: the next worker on it removes them, and counts them."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.database.counters import read
from sandbox.pod.docker import engine, images, labels
from sandbox.pod.tools import find_tools
from sandbox.queue import enqueue
from sandbox.queue.perform import perform
from sandbox.queue.work import load_work
from sandbox.submissions import attempts, control
from sandbox.submissions.attempts import Attempt
from tests.sandbox.pod import engines
from tests.sandbox.queue.service import kill_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from sandbox.images import BaseImage
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


def _counted(service: Service) -> float:
    with service.engine.connect() as connection:
        return sum(read(connection).get("orphan_pods_total", {}).values())


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
    assert _counted(embedded) >= len(left)
    assert embedded.fumehood("queue", "cancel", identifier).returncode == 0
    assert embedded.ended(identifier).state == "cancelled"
    assert _tracees(client) & left == set()


def test_what_the_pod_of_a_run_removes_is_counted_once(
    client: DockerClient, embedded: Service, base_image: BaseImage
) -> None:
    labels.remove_orphans(client)
    client.containers.create(
        images.ensure(client, base_image.rootfs, find_tools().strace).tracee,
        entrypoint=["/bin/sleep", "1000"],
        name=f"fumehood-test-{secrets.token_hex(4)}",
        labels={labels.WORKER: "gone/1/1/1", labels.ROLE: "tracee", labels.RUN: "test"},
        network_mode="none",
        runtime="runc",
    )
    identifier = embedded.submit(pod="docker")
    attempt = Attempt(submission=identifier, number=1, owner="here")
    row = attempts.claim(embedded.engine, attempt, time.time(), 30)
    assert row
    # A run that nobody wants any more has its pod too, and is over soon.
    control.cancel(embedded.engine, identifier, "only its pod is looked at", time.time())
    perform(load_work(embedded.configuration, os.environ), row, attempt)
    assert embedded.row(identifier).state == "cancelled"
    assert _counted(embedded) == 1
    assert labels.remove_orphans(client).containers == ()
