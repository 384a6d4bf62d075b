"""Zip archives (wheels and old sdists): the checks, and reading a few small members into memory."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from sandbox.errors import IntakeError
from sandbox.intake.members import Contents, Member, Members, Wanted, check_count, check_size
from sandbox.intake.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_MAX_COMMENT = 65_535
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED = 0x1 | 0x40
_UTF8 = 0x800
_MAX_LINK = 4_096
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    NotImplementedError,
)
"""What zipfile and its decompressors raise over damaged archives."""
_BROKEN = "it is not a whole zip archive; download or build it again"


def read_zip(path: Path, wanted: Wanted) -> Contents:
    """Check a zip archive and read the wanted members.

    Args:
        path: A private copy of the file.
        wanted: Which members to keep.

    Raises:
        IntakeError: It is no zip archive, or one that no honest build makes.
    """
    size = path.stat().st_size
    with _reading(path) as stream:
        _count_entries(stream, size)
        with zipfile.ZipFile(stream) as archive:
            members, regular = _checked(archive, size)
            _check_layout(stream, archive.infolist(), archive.start_dir)
            # zipfile stops at the declared size, whatever the compressed bytes hold.
            kept = {name: archive.read(entry) for name, entry in regular.items() if wanted.check(name, entry.file_size)}
    return Contents(frozenset(members.tops), kept)


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """The open file; whatever its hostile content makes zipfile raise becomes our error."""
    try:
        with path.open("rb") as stream:
            yield stream
    except (*_FAULTS, OSError) as error:  # OSError: bzip2's own
        raise IntakeError(f"{_BROKEN} ({quoted(str(error))})") from error


def _count_entries(stream: IO[bytes], size: int) -> None:
    """Walk the central directory before zipfile turns each entry, however many there are, into an object."""
    tail = min(size, _END.size + _MAX_COMMENT)
    stream.seek(size - tail)
    data = stream.read(tail)
    start = data.rfind(b"PK\5\6")
    if start < 0 or start + _END.size > len(data):
        raise IntakeError(_BROKEN)
    end = size - tail + start
    length = _END.unpack_from(data, start)[5]
    if start >= _LOCATOR64.size:
        locator = _LOCATOR64.unpack_from(data, start - _LOCATOR64.size)
        if locator[0] == b"PK\6\7":
            end -= _LOCATOR64.size + _END64.size
            stream.seek(max(end, 0))
            record = _END64.unpack(stream.read(_END64.size))
            if record[0] != b"PK\6\6":
                raise IntakeError(_BROKEN)
            length = record[8]
    position = end - length
    if position < 0:
        raise IntakeError(_BROKEN)
    stream.seek(position)
    count = 0
    while position < end:
        entry = _ENTRY.unpack(stream.read(_ENTRY.size))
        count += 1
        check_count(count)
        rest = sum(entry[12:15])
        stream.seek(rest, 1)
        position += _ENTRY.size + rest
    stream.seek(0)


def _checked(archive: zipfile.ZipFile, size: int) -> tuple[Members, dict[str, zipfile.ZipInfo]]:
    """Check every member; all of them, and the regular ones by their clean name."""
    members = Members()
    regular = {}
    # The declared sizes can be trusted: zipfile, which pip unpacks with too, reads no byte beyond them.
    check_size(sum(entry.file_size for entry in archive.infolist()), size)
    for entry in archive.infolist():
        if entry.flag_bits & _ENCRYPTED:
            raise IntakeError(f"{quoted(entry.orig_filename)} in the archive is encrypted; pip cannot install this")
        if entry.compress_type not in _METHODS:
            raise IntakeError(f"{quoted(entry.orig_filename)} is compressed in a way that pip cannot read")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            raise IntakeError(f"the archive holds a device, pipe or socket: {quoted(entry.orig_filename)}")
        link = None
        if kind == stat.S_IFLNK:
            if entry.file_size > _MAX_LINK:
                raise IntakeError(f"the link {quoted(entry.orig_filename)} in the archive has an endless target")
            link = archive.read(entry).decode("utf-8", "surrogateescape")
        # orig_filename: zipfile itself cuts the name at a NUL.
        name = members.add(Member(entry.orig_filename, entry.is_dir(), link))
        if not entry.is_dir() and link is None:
            regular[name] = entry
    members.finish()
    return members, regular


def _check_layout(stream: IO[bytes], entries: list[zipfile.ZipInfo], directory: int) -> None:
    """Each member must have bytes of its own and the same name in both places that give it."""
    position, previous = 0, ""
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.header_offset < position:
            raise IntakeError(f"{quoted(entry.orig_filename)} and {quoted(previous)} share bytes: a decompression bomb")
        stream.seek(entry.header_offset)
        header = _LOCAL.unpack(stream.read(_LOCAL.size))
        name = stream.read(header[10]).decode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
        if header[0] != b"PK\3\4" or name != entry.orig_filename:
            raise IntakeError(f"{_BROKEN} (two names for {quoted(entry.orig_filename)})")
        position = entry.header_offset + _LOCAL.size + header[10] + header[11] + entry.compress_size
        previous = entry.orig_filename
    if position > directory:
        raise IntakeError(f"{quoted(previous)} reaches into the archive's directory; {_BROKEN}")
