"""A file that claims to be a wheel or an sdist: checked, and asked what it is, without unpacking it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from sandbox.errors import IntakeError
from sandbox.intake.members import Contents, Wanted
from sandbox.intake.metadata import Requirements, Said, parse_metadata, parse_requires_txt, select
from sandbox.intake.quoting import listed, quoted
from sandbox.intake.tars import read_tar
from sandbox.intake.zips import read_zip

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.intake.target import Target

Kind: TypeAlias = Literal["sdist", "wheel"]
Choice: TypeAlias = Literal["sdist", "wheel", "auto"]
SUFFIXES = (".whl", ".tar.gz", ".zip")
_CALLED = {"sdist": "an sdist", "wheel": "a wheel"}
_MAX_METADATA = 1024**2
_MAX_NAME = 255
_METADATA = re.compile(r"(?P<info>[^/]+\.dist-info)/METADATA")
_SDIST = re.compile(r"[^/]+/PKG-INFO|[^/]+/([^/]+/)?[^/]+\.egg-info/requires\.txt")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a file's name says."""

    kind: Kind
    name: str
    """Normalised."""
    version: str
    """Normalised."""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a checked archive says about itself."""

    identity: Identity
    requirements: Requirements
    notes: tuple[str, ...] = ()


def identify(filename: str) -> Identity:
    """Read kind, name and version off a file's name.

    Raises:
        IntakeError: It is no name of a wheel or sdist.
    """
    # Build tag and platform of a wheel may be anything to the library; no directory or terminal takes it.
    odd = "/" in filename or not filename.isprintable() or len(filename.encode()) > _MAX_NAME
    if not filename.endswith(SUFFIXES) or odd:
        raise IntakeError(f"{quoted(filename)} is not an artefact; give a wheel (.whl) or an sdist (.tar.gz, .zip)")
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
            return Identity(kind="wheel", name=name, version=str(version))
        name, version = parse_sdist_filename(filename)
        canonicalize_name(name, validate=True)
    except InvalidWheelFilename as error:
        raise IntakeError(
            f"{quoted(filename)} is not a wheel's name; it must be NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
        ) from error
    except (InvalidSdistFilename, InvalidName) as error:
        raise IntakeError(f"{quoted(filename)} is not an sdist's name; it must be NAME-VERSION.tar.gz") from error
    return Identity(kind="sdist", name=name, version=str(version))


def check_kind(filename: str, choice: Choice) -> None:
    """Refuse to take a file for what it is not: unlike a release of the index, it is one artefact and no other.

    Raises:
        IntakeError: By its name it is the other kind, or none.
    """
    kind = identify(filename).kind
    if choice not in ("auto", kind):
        raise IntakeError(
            f"{quoted(filename)} is {_CALLED[kind]}, not {_CALLED[choice]}; leave the option `artefact` out for a file"
        )


def inspect(path: Path, filename: str, target: Target) -> Inspection:
    """Check an archive and read its metadata.

    Args:
        path: A private copy of the file.
        filename: Its name as the index or the user gave it.
        target: The interpreter that is to install it.

    Raises:
        IntakeError: It is not an archive, a hostile one, or not of the kind that its name says.
    """
    identity = identify(filename)
    try:
        said = _said(path, filename, identity)
    except IntakeError as error:
        raise IntakeError(f"{quoted(filename)}: {error}") from error
    requirements = select(said.requires, target)
    notes = (*_differences(identity, said), *requirements.notes)
    if said.requires_python and not target.accepts(said.requires_python):
        notes += (f"it asks for Python {quoted(said.requires_python)}; the image has {target.python}",)
    return Inspection(identity=identity, requirements=requirements, notes=notes)


def _said(path: Path, filename: str, identity: Identity) -> Said:
    if identity.kind == "wheel":
        wanted = Wanted(lambda name: _METADATA.fullmatch(name) is not None, _MAX_METADATA)
        return _wheel(read_zip(path, wanted), identity)
    wanted = Wanted(lambda name: _SDIST.fullmatch(name) is not None, _MAX_METADATA)
    return _sdist(read_zip(path, wanted) if filename.endswith(".zip") else read_tar(path, wanted))


def _wheel(contents: Contents, identity: Identity) -> Said:
    """As pip does it: exactly one `.dist-info`, and it is the project's."""
    infos = sorted(top for top in contents.tops if top.endswith(".dist-info"))
    if len(infos) != 1:
        raise IntakeError(f"a wheel has one .dist-info directory, this one has {len(infos)}; pip cannot install it")
    name = infos[0].removesuffix(".dist-info").rpartition("-")[0]
    if canonicalize_name(name) != identity.name:
        raise IntakeError(f"the wheel is named {quoted(identity.name)} but holds {quoted(name)}; do not install it")
    data = contents.kept.get(f"{infos[0]}/METADATA")
    if data is None:
        raise IntakeError("the wheel holds no METADATA; pip cannot install it, build it again")
    return parse_metadata(data)


def _sdist(contents: Contents) -> Said:
    if len(contents.tops) != 1:
        raise IntakeError(
            f"an sdist has one top-level directory, this one has {listed(sorted(contents.tops))}; build it again"
        )
    top = next(iter(contents.tops))
    said = parse_metadata(contents.kept.get(f"{top}/PKG-INFO", b""))
    if said.requires:
        return said
    # setuptools writes egg-info beside the packages: at the top, or in a directory such as `src`.
    found = sorted((name for name in contents.kept if name.endswith("/requires.txt")), key=lambda name: name.count("/"))
    requires = parse_requires_txt(contents.kept[found[0]]) if found else ()
    return msgspec.structs.replace(said, requires=requires)


def _differences(identity: Identity, said: Said) -> tuple[str, ...]:
    """Where an artefact's metadata does not say what its file name says: pip may refuse it."""
    notes = []
    if said.name and canonicalize_name(said.name) != identity.name:
        notes.append(f"its metadata calls it {quoted(said.name)}")
    if said.version:
        try:
            same = Version(said.version) == Version(identity.version)
        except InvalidVersion:
            same = False
        if not same:
            notes.append(f"its metadata gives version {quoted(said.version)}")
    return tuple(notes)
