"""A project's page as a sweep needs it: its releases, when they came and how large they are.

Sizes and times are those of PEP 700, which not every index gives; a page in HTML has neither.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from sandbox.intake.index import parse_page
from sandbox.registry.errors import NotFoundError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from sandbox.registry.fetch import Fetcher, IndexAnswer

_LARGEST: Final = 2**53


class ReleaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel or sdist."""

    version: Any
    """A `packaging.version.Version`."""
    kind: Literal["wheel", "sdist"]
    uploaded: float | None
    """UTC seconds since the epoch."""
    size: int | None
    """Bytes."""
    yanked: bool


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What all configured indexes say about a project."""

    serial: str
    """Changes when the project does: the indexes' own serials, or their files' names where there are none."""
    files: tuple[ReleaseFile, ...]

    def versions(self) -> list[Version]:
        """Each version once, the newest first; yanked and pre-releases last, as pip prefers."""
        yanked = {file.version for file in self.files} - {file.version for file in self.files if not file.yanked}
        return sorted(
            {file.version for file in self.files},
            key=lambda version: (version not in yanked, not version.is_prerelease, version),
            reverse=True,
        )

    def of(self, version: Version) -> tuple[ReleaseFile, ...]:
        """The files of one version."""
        return tuple(file for file in self.files if file.version == version)


def uploaded(files: tuple[ReleaseFile, ...]) -> float | None:
    """When the first of some files came; `None` when the index does not say."""
    return min((file.uploaded for file in files if file.uploaded is not None), default=None)


def read_project(fetcher: Fetcher, name: str) -> Project | None:
    """Ask every configured index.

    Args:
        fetcher: Asks them; thread-safe.
        name: Normalised.

    Returns:
        What they say together; `None` when none knows the project.

    Raises:
        RegistryError: One of them did not answer, or not usably.
    """
    files: dict[str, ReleaseFile] = {}
    serials = []
    for base in fetcher.index_urls:
        try:
            answer = fetcher.page(f"{base}/{name}/")
        except NotFoundError as error:
            if error.status == 404:  # noqa: PLR2004
                continue
            raise
        try:
            serial, found = _read(answer, name)
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise UnreachableError(f"{base} gave a page of {name} that cannot be read: {error}") from error
        serials.append(serial)
        files = found | files
    return Project(serial=" ".join(serials), files=tuple(files.values())) if serials else None


class _File(msgspec.Struct, rename="kebab"):
    filename: str
    yanked: bool | str = False
    size: int | None = None
    upload_time: str | None = None


class _Meta(msgspec.Struct):
    last_serial: int | str | None = msgspec.field(name="_last-serial", default=None)


class _Page(msgspec.Struct):
    files: list[_File]
    meta: _Meta = msgspec.field(default_factory=_Meta)


def _read(answer: IndexAnswer, name: str) -> tuple[str, dict[str, ReleaseFile]]:
    if "json" in answer.content_type.lower():
        page = msgspec.json.decode(answer.body, type=_Page)
        given, serial = page.files, page.meta.last_serial
    else:
        listed = parse_page(answer.body, answer.content_type, answer.url)
        given, serial = [_File(filename=file.filename, yanked=file.yanked) for file in listed], None
    files = {file.filename: made for file in given if (made := _file(file, name))}
    told = str(serial)[:40] if serial else f"files:{_digest(file.filename for file in given)}"
    return told, files


def _digest(names: Iterable[str]) -> str:
    """Of names, in whatever order they come."""
    return hashlib.sha256("\0".join(sorted(names)).encode("utf-8", "replace")).hexdigest()[:24]


def _file(file: _File, name: str) -> ReleaseFile | None:
    """A file whose name can be read and is this project's; others cannot be installed either."""
    try:
        if file.filename.endswith(".whl"):
            project, version, _, _ = parse_wheel_filename(file.filename)
            kind: Literal["wheel", "sdist"] = "wheel"
        else:
            project, version = parse_sdist_filename(file.filename)
            kind = "sdist"
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    if canonicalize_name(project) != name:
        return None
    size = file.size if file.size is not None and 0 <= file.size < _LARGEST else None
    return ReleaseFile(
        version=version, kind=kind, uploaded=_instant(file.upload_time), size=size, yanked=file.yanked is not False
    )


def _instant(text: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None
