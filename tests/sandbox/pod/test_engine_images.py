"""The Docker pod's images: made once, made again when what they are made from changes, and pruned."""

from __future__ import annotations

import io
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.errors import PodError
from sandbox.pod.docker import engine, images, labels
from sandbox.pod.tools import find_tools
from sandbox.resources import images_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker import DockerClient

    from sandbox.images import BaseImage

pytestmark = [pytest.mark.docker, pytest.mark.pod, pytest.mark.alone]


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: DockerClient) -> Iterator[Path]:
    """A copy of the recipes, which a test may change; its images are removed afterwards."""
    before = _ours(client)
    copy = tmp_path / "images"
    shutil.copytree(images_directory(), copy)
    monkeypatch.setattr(images, "images_directory", lambda: copy)
    yield copy
    for identifier in _ours(client) - before:
        client.images.remove(identifier, force=True)


def _ours(client: DockerClient) -> set[str]:
    return {str(image["Id"]) for image in client.api.images(filters={"label": images.RECIPE_LABEL})}


def _ensure(client: DockerClient, base_image: BaseImage) -> images.Images:
    return images.ensure(client, base_image.rootfs, find_tools().strace)


def _events(client: DockerClient, act: Callable[[], object]) -> list[dict[str, Any]]:
    """What the engine did with images of ours meanwhile."""
    since = time.time()
    act()
    filters = {"type": "image", "label": images.RECIPE_LABEL}
    return list(client.events(since=since, until=time.time(), decode=True, filters=filters))


def test_images_that_are_there_are_used_again(client: DockerClient, base_image: BaseImage) -> None:
    first = _ensure(client, base_image)
    everything = {image["Id"] for image in client.api.images(all=True)}
    made: list[images.Images] = []
    events = _events(client, lambda: made.append(_ensure(client, base_image)))
    assert made == [first]
    assert events == []
    assert {image["Id"] for image in client.api.images(all=True)} == everything
    for identifier in (first.gateway, first.tracee):
        image = client.api.inspect_image(identifier)
        assert image["RepoTags"] == [f"{_repository(image)}:{image['Config']['Labels'][images.RECIPE_LABEL]}"]


def _repository(image: dict[str, Any]) -> str:
    return str(image["RepoTags"][0].partition(":")[0])


@pytest.mark.parametrize("change", ["keeper.py", "Dockerfile", "another.py"])
def test_a_changed_recipe_gives_another_image(
    client: DockerClient, base_image: BaseImage, recipes: Path, change: str
) -> None:
    first = _ensure(client, base_image)
    path = recipes / "docker-tracee" / change
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n# changed\n")
    second = _ensure(client, base_image)
    assert second.gateway == first.gateway, "nothing of it has changed"
    assert second.tracee != first.tracee
    digests = [
        client.api.inspect_image(identifier)["Config"]["Labels"][images.RECIPE_LABEL]
        for identifier in (first.tracee, second.tracee)
    ]
    assert digests[0] != digests[1]


def test_workers_at_the_same_time_build_once(client: DockerClient, base_image: BaseImage, recipes: Path) -> None:
    with (recipes / "docker-tracee/keeper.py").open("a") as keeper:
        keeper.write(f"# {time.time()}\n")
    before = _ours(client)
    made: list[images.Images] = []
    failed: list[BaseException] = []

    def work() -> None:
        own = engine.connect()
        try:
            made.append(_ensure(own, base_image))
        except PodError as error:
            failed.append(error)
        finally:
            own.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert len(made) == 4
    assert len(set(made)) == 1
    assert _ours(client) - before == {made[0].tracee}, "one image, and no other that has lost its name"


def test_old_images_are_pruned_and_those_in_use_are_not(
    client: DockerClient, base_image: BaseImage, recipes: Path
) -> None:
    current = _ensure(client, base_image)
    container = client.api.create_container(current.tracee, entrypoint=["/bin/true"])["Id"]
    try:
        with (recipes / "docker-tracee/keeper.py").open("a") as keeper:
            keeper.write(f"# {time.time()}\n")
        old = _ensure(client, base_image).tracee
        tag = client.api.inspect_image(old)["RepoTags"][0]
        dockerfile = f"FROM {current.tracee}\nLABEL step={time.time()}\n".encode()
        unnamed = str(client.images.build(fileobj=io.BytesIO(dockerfile), rm=True)[0].id)
        assert unnamed in _ours(client)
        removed = labels.prune(client)
        assert tag in removed.images
        assert not {old, unnamed} & _ours(client), "also what a killed build left, which has no name"
        assert current.tracee in _ours(client)
    finally:
        client.api.remove_container(container, force=True)
