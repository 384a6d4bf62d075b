"""Base root filesystems: built by `images/build` from Debian packages, cached by the digest of their recipe."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector import manifest
from sandbox.errors import ImageError
from sandbox.resources import images_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCHEMA = "fumehood.image/1"
_FAILED = "images/build: "
"""What the builder's last message begins with when it has failed."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A root filesystem that is ready to be bound read-only into pods."""

    rootfs: Path
    image: manifest.Image
    default_index_url: str
    """The index the image's own pip asks when nothing is configured."""
    registry_hosts: tuple[str, ...]
    """Hosts the image's own pip takes for the registry: the index and its file host."""


class _Registry(msgspec.Struct, frozen=True):
    client: str
    index_url: str
    hosts: tuple[str, ...]


class _Description(msgspec.Struct, frozen=True):
    """The part of `image.json` that is used here."""

    schema: str
    name: str
    digest: str
    python: str
    pip: str
    registry: _Registry


def ensure(name: str, cache: Path, progress: Callable[[str], None]) -> BaseImage:
    """Return the image of this name, built first when its recipe has changed or was never built.

    Args:
        name: Folder of the recipe below `images/`, e.g. `debian12-python`.
        cache: fumehood's cache directory; images live in `images/` below it.
        progress: Called with one line of text whenever building has something to tell.

    Raises:
        ImageError: The image is unknown or cannot be built here; the message says what to do.
    """
    folder = _build(name, cache, progress)
    try:
        described = msgspec.json.decode((folder / "image.json").read_bytes(), type=_Description)
    except (OSError, msgspec.DecodeError) as error:
        raise ImageError(f"{folder} is not a usable image ({error}); remove that folder and try again") from error
    if described.schema != SCHEMA or not (folder / "rootfs").is_dir():
        raise ImageError(f"{folder} is not a usable image; remove that folder and try again")
    return BaseImage(
        rootfs=folder / "rootfs",
        image=manifest.Image(name=described.name, digest=described.digest, python=described.python, pip=described.pip),
        default_index_url=described.registry.index_url,
        registry_hosts=described.registry.hosts,
    )


def _build(name: str, cache: Path, progress: Callable[[str], None]) -> Path:
    """Run `images/build`, pass on what it tells, and return the image's folder."""
    command = [sys.executable, str(images_directory() / "build"), name, "--cache", str(cache)]
    reason = ""
    told: deque[str] = deque([""], maxlen=20)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as builder:
        for line in builder.stderr or ():
            told.append(line.strip())
            if line.startswith(_FAILED):
                reason = told[-1].removeprefix(_FAILED)
            else:
                progress(line.rstrip())
        result = builder.stdout.read().strip() if builder.stdout else ""
    if builder.returncode or not result:
        raise ImageError(f"cannot build the image {name}: {_advised(reason, told, cache)}")
    return Path(result)


def _advised(reason: str, told: Sequence[str], cache: Path) -> str:
    """One line: why there is no image, and what to do.

    Args:
        reason: The builder's own; empty when it broke off.
        told: The last lines that it printed.
        cache: Where the image was to go.
    """
    # apt's and mmdebstrap's own errors; what tar says after them is only that nothing came.
    last = next((line for line in reversed(told) if line.startswith("E: ")), told[-1])
    if reason.startswith("[Errno "):
        fault = reason.partition("] ")[2]
        return f"{fault}; make {cache} a directory that you can write to, or set FUMEHOOD_CACHE to another one"
    if reason.startswith("mmdebstrap failed"):
        return f"mmdebstrap failed ({last}); check that apt-get update works here and that {cache} has 1 GB free"
    return reason or f"its builder broke off ({last or 'without a word'}); this is a bug, please report it"
