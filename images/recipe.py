"""Recipes of images: folders next to this file, and the digests that name what is built from them."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


SHAPING = ("debian.py", "tree.py")


class BuildError(Exception):
    """The image cannot be built; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A folder below `images/`."""

    name: str
    folder: Path
    suite: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    excludes: tuple[str, ...]
    digest: str
    """SHA-256 over names and contents of all files, and of the code that shapes the tree."""
    base_digest: str
    """The same without the drivers: what the Debian part depends on."""


def read_recipe(folder: Path) -> Recipe:
    """Read a recipe and compute its digests."""
    if not (folder / "recipe.toml").is_file():
        raise BuildError(f"there is no recipe {folder.name!r} in {folder.parent}")
    settings = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )
    return Recipe(
        name=folder.name,
        folder=folder,
        suite=settings["suite"],
        components=tuple(settings["components"]),
        packages=_lines(folder / "packages.txt"),
        excludes=_lines(folder / "dpkg-excludes.txt"),
        digest=_digest(folder, files),
        base_digest=_digest(folder, [path for path in files if path.parent.name != "drivers"]),
    )


def _lines(path: Path) -> tuple[str, ...]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _digest(folder: Path, files: list[Path]) -> str:
    """Hash the machine, the code that shapes the tree, and the recipe."""
    total = hashlib.sha256(platform.machine().encode())
    for path in (*(folder.parent / name for name in SHAPING), *files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder.parent).as_posix()}\0{content}\n".encode())
    return total.hexdigest()
