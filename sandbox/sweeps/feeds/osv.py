"""Packages that advisories in the OSV format name: a dump as a zip archive, or a directory of JSON files."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from sandbox.sweeps.feeds.feed import Entry, FeedError, Page, Refused
from sandbox.sweeps.feeds.files import read_bounded
from sandbox.sweeps.feeds.names import purl_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.sweeps.feeds.feed import Cursor

_MAX_RECORD: Final = 1024**2
_MAX_FILES: Final = 500_000
_MAX_KNOWN: Final = 200_000
_MAX_VERSIONS: Final = 20
"""Versions taken of one advisory, the last that it lists."""
_PAGE: Final = 500
"""New records between two commits."""


class _Package(msgspec.Struct):
    ecosystem: str = ""
    name: str = ""


class _Affected(msgspec.Struct):
    package: _Package | None = None
    versions: list[str] = []


class _Record(msgspec.Struct):
    id: str
    modified: str
    withdrawn: str | None = None
    affected: list[_Affected] = []


class OsvFeed:
    """Packages of advisories that are new or changed since the last sweep; withdrawn ones are passed over.

    Args:
        path: A zip archive, or a directory (with directories in it), of one JSON file an advisory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """See `Feed`."""
        known: set[str] = set(cursor.get("known", ()))
        present: set[str] = set()
        refused, fresh = Refused("advisories"), 0
        notes: list[str] = []
        entries: list[Entry] = []
        for name, body in self._records():
            try:
                record = _read(body)
            except ValueError as error:
                refused.add(name, str(error))
                continue
            if record is None:
                continue
            mark = hashlib.sha256(f"{record.id}\0{record.modified}".encode()).hexdigest()[:12]
            present.add(mark)
            if mark in known:
                continue
            known.add(mark)
            entries += _entries(record, refused, notes)
            fresh += 1
            if fresh == _PAGE:
                yield _page(entries, known, refused, notes)
                refused, notes, entries, fresh = Refused("advisories"), [], [], 0
        # What the dump no longer has need not be remembered.
        yield _page(entries, known & present, refused, notes)

    def _records(self) -> Iterator[tuple[str, bytes]]:
        if self._path.is_dir():
            return _from_directory(self._path)
        return _from_zip(self._path)


def _page(entries: list[Entry], known: set[str], refused: Refused, notes: list[str]) -> Page:
    if len(known) > _MAX_KNOWN:
        raise FeedError(f"the dump has more than {_MAX_KNOWN} advisories on PyPI packages; split it")
    return Page(
        entries=tuple(entries),
        cursor={"known": sorted(known)},
        bad=refused.count,
        notes=(*notes, *refused.notes()),
    )


def _read(body: bytes) -> _Record | None:
    """An advisory on PyPI packages that stands; `None` for others.

    Raises:
        ValueError: It is not an advisory in the OSV format.
    """
    if len(body) > _MAX_RECORD:
        raise ValueError(f"larger than {_MAX_RECORD // 1024} KiB")
    try:
        record = msgspec.json.decode(body, type=_Record)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    ours = [each for each in record.affected if each.package and each.package.ecosystem.partition(":")[0] == "PyPI"]
    if record.withdrawn or not ours:
        return None
    return msgspec.structs.replace(record, affected=ours)


def _entries(record: _Record, refused: Refused, notes: list[str]) -> list[Entry]:
    made = []
    for affected in record.affected:
        name = affected.package.name if affected.package else ""
        if len(affected.versions) > _MAX_VERSIONS:
            notes.append(
                f"{record.id[:60]} names {len(affected.versions)} versions: the last {_MAX_VERSIONS} are taken"
            )
        for version in affected.versions[-_MAX_VERSIONS:] or [""]:
            try:
                made.append(Entry(purl=purl_of(name, version), why=f"advisory {record.id[:60]}"))
            except ValueError as error:
                refused.add(f"{record.id}: {name} {version}", str(error))
    return made


def _from_directory(root: Path) -> Iterator[tuple[str, bytes]]:
    count = 0
    for directory, below, files in os.walk(root):
        below.sort()
        for name in sorted(files):
            if not name.endswith(".json"):
                continue
            count += 1
            if count > _MAX_FILES:
                raise FeedError(f"{root} holds more than {_MAX_FILES} files; split it")
            yield name, _one(Path(directory) / name)


def _one(path: Path) -> bytes:
    """A file's bytes; what is too large or no file is given so that it will be counted as unreadable."""
    try:
        return read_bounded(path, 2 * _MAX_RECORD)
    except FeedError:
        return b""


def _from_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".json"))
            if len(names) > _MAX_FILES:
                raise FeedError(f"{path} holds more than {_MAX_FILES} files; split it")
            for name in names:
                yield name, _member(archive, name)
    except FileNotFoundError as error:
        raise FeedError(f"there is no {path}; check `source` in the sweep") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise FeedError(f"{path} is no zip archive that can be read: {error}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, never more than a little beyond the bound, however it unpacks; empty when it is damaged."""
    try:
        with archive.open(name) as stream:
            return stream.read(_MAX_RECORD + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return b""
