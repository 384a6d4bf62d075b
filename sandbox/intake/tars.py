"""Compressed tar archives (sdists): the checks and the small members, in one bounded pass."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import TYPE_CHECKING

from sandbox.errors import IntakeError
from sandbox.intake.members import Contents, Member, Members, Wanted, check_size
from sandbox.intake.quoting import quoted

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1024 * 1024
_MAX_READ = 4 * 1024 * 1024
"""tarfile reads a header of extended names in one piece; honest ones are far below this."""
_BROKEN = "it is not a whole .tar.gz archive; download or build it again"


class _Bounded(io.RawIOBase):
    """What gzip unpacks, read forward only, with its size measured rather than believed."""

    def __init__(self, stream: gzip.GzipFile, compressed: int) -> None:
        super().__init__()
        self._stream = stream
        self._compressed = compressed
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise IntakeError("a header in the archive is larger than 4 MiB; no honest build makes this")
        data = self._stream.read(size)
        self._position += len(data)
        check_size(self._position, self._compressed)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise io.UnsupportedOperation("forward only")
        while self._position < offset and self.read(min(_CHUNK, offset - self._position)):
            pass
        return self._position


def read_tar(path: Path, wanted: Wanted) -> Contents:
    """Check a compressed tar archive and read the wanted members.

    Args:
        path: A private copy of the file.
        wanted: Which members to keep.

    Raises:
        IntakeError: It is no such archive, or one that no honest build makes.
    """
    reader = _Reader(wanted, path.stat().st_size)
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) as unpacked:
            reader.read(_Bounded(unpacked, path.stat().st_size))
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError) as error:
        raise IntakeError(f"{_BROKEN} ({quoted(str(error))})") from error
    reader.members.finish()
    return Contents(frozenset(reader.members.tops), reader.kept)


class _Reader:
    """What one pass over an archive gathers."""

    def __init__(self, wanted: Wanted, compressed: int) -> None:
        self.members = Members()
        self.kept: dict[str, bytes] = {}
        self._wanted = wanted
        self._compressed = compressed
        self._declared = 0

    def read(self, stream: _Bounded) -> None:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                self._take(archive, member)
                # tarfile would keep every one of them; its stubs do not know the attribute.
                archive.members.clear()  # type: ignore[attr-defined]

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise IntakeError(f"the archive holds a device or pipe: {quoted(member.name)}; do not install it")
        name = self.members.add(
            Member(
                member.name,
                member.isdir(),
                link=member.linkname if member.issym() else None,
                hard=member.linkname if member.islnk() else None,
            )
        )
        if not member.isreg():
            return
        self._declared += member.size  # a sparse member unpacks to more than it takes in the stream
        check_size(self._declared, self._compressed)
        if self._wanted.check(name, member.size):
            content = archive.extractfile(member)
            self.kept[name] = content.read(self._wanted.limit) if content else b""
