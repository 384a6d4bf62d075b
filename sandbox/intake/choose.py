"""Which of a project's files to analyse: the version asked for or the newest, as a wheel or an sdist."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from sandbox.errors import IntakeError
from sandbox.intake.quoting import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from sandbox.intake.archive import Choice
    from sandbox.intake.index import ProjectFile
    from sandbox.intake.target import Target

_SHOWN_VERSIONS = 8


class Candidate(NamedTuple):
    """A file whose name could be read."""

    file: ProjectFile
    version: Version
    wheel: bool
    usable: bool
    """The image's interpreter can install it."""
    order: tuple[int, int]
    """Among files of one version and kind, the largest is best."""


def choose(
    files: Iterable[ProjectFile], name: str, version: Version | None, choice: Choice, target: Target
) -> ProjectFile:
    """Pick one file.

    Args:
        files: What the index names.
        name: Normalised name of the project.
        version: The version asked for, or None for the newest.
        choice: `auto` takes a wheel that fits, else the sdist.
        target: The interpreter that is to install it.

    Raises:
        IntakeError: There is no such version or no such file; the message lists what there is.
    """
    candidates = [found for file in files if (found := _candidate(file, name, target))]
    if not candidates:
        raise IntakeError(f"{name} has no wheel and no sdist on the index; nothing to analyse")
    if version is not None:
        there = [candidate for candidate in candidates if candidate.version == version]
        if not there:
            raise IntakeError(f"{name} has no version {version}; it has {_versions(candidates)}")
        return _best(there, name, choice, target).file
    current = [candidate for candidate in candidates if not candidate.file.yanked]
    if not current:
        newest = max(candidate.version for candidate in candidates)
        raise IntakeError(
            f"every release of {name} is yanked; to analyse one all the same give its version, "
            f"such as pkg:pypi/{name}@{newest} (there are {_versions(candidates)})"
        )
    fitting = [candidate for candidate in current if candidate.usable and _of_kind(candidate, choice)]
    final = [candidate for candidate in fitting if not candidate.version.is_prerelease]
    newest = max((candidate.version for candidate in final or fitting), default=max(c.version for c in current))
    return _best([candidate for candidate in current if candidate.version == newest], name, choice, target).file


def _candidate(file: ProjectFile, name: str, target: Target) -> Candidate | None:
    """The file as a candidate; None for what is no wheel or sdist, or not of this project."""
    try:
        if file.filename.endswith(".whl"):
            found, version, build, tags = parse_wheel_filename(file.filename)
            rank = target.rank(tags)
            usable = rank is not None and target.accepts(file.requires_python)
            order = (-(rank or 0), build[0] if build else 0)
            candidate = Candidate(file, version, wheel=True, usable=usable, order=order)
        else:
            found, version = parse_sdist_filename(file.filename)
            usable = target.accepts(file.requires_python)
            order = (int(file.filename.endswith(".tar.gz")), 0)
            candidate = Candidate(file, version, wheel=False, usable=usable, order=order)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return candidate if found == canonicalize_name(name) else None


def _of_kind(candidate: Candidate, choice: Choice) -> bool:
    return choice == "auto" or candidate.wheel == (choice == "wheel")


def _best(candidates: list[Candidate], name: str, choice: Choice, target: Target) -> Candidate:
    """The best file of one version."""
    fitting = [candidate for candidate in candidates if candidate.usable and _of_kind(candidate, choice)]
    if fitting:
        # A wheel before an sdist; of several files of one sort, one that is not yanked.
        return max(fitting, key=lambda each: (each.wheel, not each.file.yanked, each.order))
    version = candidates[0].version
    there = listed(candidate.file.filename for candidate in candidates)
    wanted = "file" if choice == "auto" else choice
    pythons = sorted({candidate.file.requires_python for candidate in candidates if candidate.file.requires_python})
    needs = f", for Python {listed(map(quoted, pythons))}" if pythons else ""
    other = "--artefact auto or another version" if choice != "auto" else "another version"
    raise IntakeError(
        f"{name} {version} has no {wanted} for CPython {target.python} on Linux x86_64; "
        f"it has {there}{needs}; try {other}"
    )


def _versions(candidates: list[Candidate]) -> str:
    versions = sorted({candidate.version for candidate in candidates}, reverse=True)
    return listed(map(str, versions), _SHOWN_VERSIONS)
