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


def test_what_mmdebstrap_says_is_shown_once_and_the_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in {
        "mmdebstrap": "printf 'I: one\\nE: no mirror\\n' >&2; exit 1",
        "fakechroot": "",
        "fakeroot": "",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    told: list[str] = []
    with pytest.raises(
        ImageError, match=r"mmdebstrap failed \(E: no mirror\); check that apt-get update works"
    ) as caught:
        images.ensure("debian12-python", tmp_path, told.append)
    assert len(str(caught.value).splitlines()) == 1
    assert [line.strip() for line in told[1:3]] == ["I: one", "E: no mirror"], "its own words are progress"
    assert not any("mmdebstrap failed" in line for line in told)


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    with pytest.raises(ImageError, match="set FUMEHOOD_CACHE") as caught:
        images.ensure("debian12-python", tmp_path / "file" / "cache", told.append)
    assert len(str(caught.value).splitlines()) == 1
    assert told == []


@pytest.mark.pod
@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": "fumehood.image/9"}'])
def test_a_damaged_image_is_said_so(base_image: images.BaseImage, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "images" / base_image.rootfs.parent.name
    folder.mkdir(parents=True)
    (folder / "image.json").write_bytes(content)
    with pytest.raises(ImageError, match="remove that folder"):
        images.ensure("debian12-python", tmp_path, print)
