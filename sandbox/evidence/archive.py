"""A bundle as one zip file, and back: stored, not compressed, as nearly everything in a bundle is compressed already.

The same bundle gives the same bytes: names in order, no times, no owners.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from typing import TYPE_CHECKING, Final

from collector.bundle import MANIFEST
from collector.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from collector.bundle import Bundle

CHUNK: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}")
"""Names that every system takes; those of our bundles are of this kind."""
_MAX_NAME: Final = 200
_MAX_FILES: Final = 1_000
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file knows."""
_REGULAR: Final = 0o100644 << 16


def archive_name(run: str) -> str:
    """What the file is called wherever somebody is given it."""
    return f"fumehood-{run}.zip"


def stored_files(bundle: Bundle) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Every file of a bundle with its bytes as stored, the manifest first, then in order of name.

    Raises:
        BundleError: A name is not of the usual kind, there are too many, or a file changed since the bundle was opened.
    """
    names = sorted(bundle.manifest.files)
    if len(names) > _MAX_FILES:
        raise BundleError(f"{bundle.path}: {len(names)} files; no bundle of ours has more than {_MAX_FILES}")
    for name in names:
        _check_name(name, str(bundle.path))
    yield MANIFEST, _pieces(bundle.path / MANIFEST)
    for name in names:
        yield name, _checked(bundle, name)


def pack(bundle: Bundle, file: BinaryIO) -> None:
    """Write a bundle as a zip file; everything is in one folder, named after the run.

    Raises:
        BundleError: As for `stored_files`.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in stored_files(bundle):
            entry = zipfile.ZipInfo(f"{bundle.manifest.run}/{name}", _EPOCH)
            entry.create_system = 3
            entry.external_attr = _REGULAR
            if name != MANIFEST:
                entry.file_size = bundle.manifest.files[name].size
            with archive.open(entry, "w") as target:
                for piece in pieces:
                    target.write(piece)


def unpack(file: BinaryIO, run: str, directory: Path) -> None:
    """Write the files of a zip file that `pack` made into a directory.

    Raises:
        BundleError: It is not such a file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_FILES + 1 or len({entry.filename for entry in entries}) != len(entries):
                raise BundleError("its archive has too many files, or one twice")
            for entry in entries:
                _unpack_one(archive, entry, run, directory)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"its archive cannot be read: {error}") from error


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, run: str, directory: Path) -> None:
    folder, _, name = entry.filename.partition("/")
    # What is only stored cannot unpack to more than it is.
    if folder != run or entry.compress_type != zipfile.ZIP_STORED:
        raise BundleError(f"its archive has the entry {entry.filename[:_MAX_NAME]!a}, which is not one of ours")
    _check_name(name, "its archive")
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("xb") as target:
        while piece := source.read(CHUNK):
            target.write(piece)


def _check_name(name: str, where: str) -> None:
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise BundleError(f"{where}: the name {name[:_MAX_NAME]!a} is not one that a bundle of ours has")


def _checked(bundle: Bundle, name: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for piece in _pieces(bundle.path / name):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != bundle.manifest.files[name].sha256:
        raise BundleError(f"{bundle.path}: {name!r} changed while it was read")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            yield piece
