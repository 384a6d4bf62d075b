"""Compressed tar archives (sdists): the checks and the small members, in one bounded pass."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import IO, TYPE_CHECKING

from sandbox.errors import IntakeError
from sandbox.intake.members import Member, Members, check_size
from sandbox.intake.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CHUNK = 1024 * 1024
_MAX_READ = 4 * 1024 * 1024
"""tarfile reads a header of extended names in one piece; honest ones are far below this."""
_BROKEN = "it is not a whole .tar.gz archive; download or build it again"


class _Bounded(io.RawIOBase):
    """What gzip unpacks, read forward only, with its size measured rather than believed."""

    def __init__(self, stream: IO[bytes], compressed: int) -> None:
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


class Tar:
    """A checked tar archive: `names` of its regular members and `tops`, its top-level entries.

    Args:
        path: A private copy of the file.
        wanted: Whether a member of this name is to be kept in memory.
        limit: Bytes of the largest member kept.

    Raises:
        IntakeError: It is no such archive, or one that no honest build makes.
    """

    def __init__(self, path: Path, wanted: Callable[[str], bool], limit: int) -> None:
        self.names: list[str] = []
        self.kept: dict[str, bytes] = {}
        members = Members()
        try:
            with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) as unpacked:
                bounded = _Bounded(unpacked, path.stat().st_size)
                # RawIOBase and tarfile's protocol agree on read, seek and tell, all that is used here.
                with tarfile.open(fileobj=bounded, mode="r:") as archive:
                    while (member := archive.next()) is not None:
                        self._take(archive, member, members, wanted, limit)
                        archive.members.clear()  # tarfile would keep every one of them
        except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError) as error:
            raise IntakeError(f"{_BROKEN} ({quoted(str(error))})") from error
        members.finish()
        self.tops: frozenset[str] = frozenset(members.tops)

    def _take(
        self,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        members: Members,
        wanted: Callable[[str], bool],
        limit: int,
    ) -> None:
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise IntakeError(f"the archive holds a device or pipe: {quoted(member.name)}; do not install it")
        check_size(member.size, self_size(archive))
        name = members.add(
            Member(
                member.name,
                member.isdir(),
                link=member.linkname if member.issym() else None,
                hard=member.linkname if member.islnk() else None,
            )
        )
        if not member.isreg():
            return
        self.names.append(name)
        if wanted(name):
            if member.size > limit:
                raise IntakeError(f"{quoted(name)} in the archive is larger than {limit} bytes; not analysed")
            content = archive.extractfile(member)
            self.kept[name] = content.read(limit) if content else b""
