"""Base root filesystems as the sandbox asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox import images
from sandbox.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.pod
def test_an_image_that_is_there_is_used_without_a_word(base_image: images.BaseImage) -> None:
    told: list[str] = []
    cache = base_image.rootfs.parents[2]
    assert images.ensure("debian12-python", cache, told.append) == base_image
    assert told == []


@pytest.mark.pod
def test_an_image_says_what_it_is(base_image: images.BaseImage) -> None:
    assert base_image.image.name == "debian12-python"
    assert base_image.image.python.startswith("3.11.")
    assert len(base_image.image.digest) == 64
    assert base_image.default_index_url.startswith("https://")
    assert base_image.registry_hosts


def test_an_unknown_image_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"there is no recipe 'debian99'"):
        images.ensure("debian99", tmp_path, print)


def test_without_mmdebstrap_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told: list[str] = []
    with pytest.raises(ImageError, match="apt-get install mmdebstrap"):
        images.ensure("debian12-python", tmp_path, told.append)
    assert told[0].startswith("building debian12-python")
    assert [path.name for path in (tmp_path / "images").iterdir()] == [".debian12-python.lock"]


@pytest.mark.pod
@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": "fumehood.image/9"}'])
def test_a_damaged_image_is_said_so(base_image: images.BaseImage, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "images" / base_image.rootfs.parent.name
    folder.mkdir(parents=True)
    (folder / "image.json").write_bytes(content)
    with pytest.raises(ImageError, match="remove that folder"):
        images.ensure("debian12-python", tmp_path, print)
