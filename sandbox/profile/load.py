"""Finds a profile file, reads it, and checks what its parts say about each other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from collector.located import Document, Sort, nearest
from collector.textfile import read_text
from sandbox.bait.kinds import KINDS, PARTS
from sandbox.bait.template import VARIABLES, references
from sandbox.errors import ProfileError
from sandbox.profile.model import PHASES, UNIT_PHASES, BaitPlan, Profile, ProfileFile
from sandbox.resources import profile_names, profiles_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROFILE = Sort("profile", ProfileError, "copy profiles/pypi.yaml and change it")
_MAX_BYTES = 256 * 1024
_PIP_FILES = (".config/pip/", ".pip/", ".pydistutils.cfg")
"""Files that pip, or a build that it starts, would obey."""


def load_profile(path_or_name: str | Path) -> Profile:
    """Load a profile.

    Args:
        path_or_name: The name of a shipped profile (`pypi`), or the path of a file: anything that holds a
            slash or ends in `.yaml` or `.yml`.

    Raises:
        ProfileError: There is no such profile, or it is wrong; the message names file, line and remedy.
    """
    path = _find(path_or_name)
    label = _label(path)
    text = read_text(path, label, _PROFILE, _MAX_BYTES)
    document = Document(text, label, _PROFILE)
    file = document.read(ProfileFile)
    _check_phases(document, file)
    _check_bait(document, file.bait)
    values = {name: getattr(file, name) for name in ProfileFile.__struct_fields__}
    values["phases"] = {name: file.phases[name] for name in PHASES}
    return Profile(**values, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


def _find(path_or_name: str | Path) -> Path:
    if isinstance(path_or_name, Path) or "/" in path_or_name or path_or_name.endswith((".yaml", ".yml")):
        return Path(path_or_name)
    names = profile_names()
    if path_or_name not in names:
        raise ProfileError(f"there is no profile {path_or_name!r}; {nearest(path_or_name, names)} (or give a file)")
    return profiles_directory() / f"{path_or_name}.yaml"


def _label(path: Path) -> str:
    """How errors name the file: shipped ones as in the repository, others as the user gave them."""
    directory = profiles_directory()
    return f"profiles/{path.name}" if path.absolute().parent == directory else str(path)


def _check_phases(document: Document, file: ProfileFile) -> None:
    for name in PHASES:
        if name not in file.phases:
            raise document.place(("phases",)).error(f"phase {name!r} is missing in phases; give its seconds")
        place = document.place(("phases", name))
        if name in UNIT_PHASES and file.phases[name].each is None:
            raise place.error(f"key 'each' is missing in phases.{name}: the seconds that one unit may take")
        if name not in UNIT_PHASES and file.phases[name].each is not None:
            raise place.error(f"phases.{name} has no units; remove 'each'")


def _check_bait(document: Document, bait: BaitPlan) -> None:
    for name, kind in bait.values.items():
        place = document.place(("bait", "values", name))
        if kind not in KINDS:
            raise place.error(f"unknown kind {kind!r} for bait {name!r}; {nearest(kind, KINDS)}")
        if name in VARIABLES or "." in name:
            raise place.error(f"bait cannot be called {name!r}; choose another name, without dots")
    for file in bait.files:
        if file.startswith(_PIP_FILES):
            raise document.place(("bait", "files", file)).error(f"{file!r} would change what pip does; remove it")
    used: dict[str, str] = {}
    for path, template in _templates(bait):
        for reference in references(template):
            _check_reference(document, bait, path, reference, used)
    for name in bait.values:
        if name not in used:
            place = document.place(("bait", "values", name))
            raise place.error(f"bait {name!r} is planted nowhere; use {{{{{name}}}}} in a file or variable")


def _templates(bait: BaitPlan) -> Iterator[tuple[tuple[str, ...], str]]:
    for file, template in bait.files.items():
        yield ("bait", "files", file), template
    for variable, template in bait.environment.items():
        yield ("bait", "environment", variable), template
    if bait.metadata:
        yield ("bait", "metadata", "template"), bait.metadata.template
        yield ("bait", "metadata", "token"), bait.metadata.token


def _check_reference(
    document: Document, bait: BaitPlan, path: tuple[str, ...], reference: str, used: dict[str, str]
) -> None:
    place = document.place(path)
    name, _, part = reference.partition(".")
    if reference in VARIABLES:
        return
    if name not in bait.values:
        raise place.error(f"unknown value '{{{{{reference}}}}}'; {nearest(reference, [*bait.values, *VARIABLES])}")
    if part:
        parts = PARTS.get(bait.values[name], ())
        if part not in parts:
            raise place.error(f"{bait.values[name]} has no part {part!r}; {nearest(part, parts)}")
        return
    if used.setdefault(name, path[-1]) != path[-1]:
        raise place.error(
            f"bait {name!r} is already planted in {used[name]!r}; give this place a value of its own, "
            "so that a leak says where it came from"
        )
