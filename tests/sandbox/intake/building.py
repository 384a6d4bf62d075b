"""Archives built for the tests, honest and hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WHEEL = "thing-1.0-py3-none-any.whl"
SDIST = "thing-1.0.tar.gz"
METADATA = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nRequires-Python: >=3.8\nRequires-Dist: six>=1\n\nText\n"


def zip_entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0))
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def wheel(
    path: Path,
    *extra: tuple[zipfile.ZipInfo, bytes],
    metadata: str | None = METADATA,
    info: str = "thing-1.0.dist-info",
) -> Path:
    """A small wheel with further members before the usual ones."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in extra:
            archive.writestr(entry, data)
        archive.writestr("thing.py", "answer = 42\n")
        if metadata is not None:
            archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def tar_entry(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    entry.size = len(data)
    return entry, data


def sdist(path: Path, *extra: tuple[tarfile.TarInfo, bytes], metadata: str | None = METADATA) -> Path:
    """A small sdist with further members after the usual ones."""
    usual = [tar_entry("thing-1.0", kind=tarfile.DIRTYPE), tar_entry("thing-1.0/setup.py", b"import setuptools\n")]
    if metadata is not None:
        usual.append(tar_entry("thing-1.0/PKG-INFO", metadata.encode()))
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for entry, data in [*usual, *extra]:
            archive.addfile(entry, io.BytesIO(data))
    return path


def gzipped(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, 9))
    return path
