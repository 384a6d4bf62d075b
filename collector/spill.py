"""Bytes put aside while a bundle is read: the first in memory, all later ones in a temporary file without a name."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Final

from collector.errors import BundleError

ROOM: Final = 1 << 20
"""Bytes that are kept in memory."""


class Spill:
    """Takes pieces of bytes and gives them back. The file is gone with the process, or with this object."""

    def __init__(self, room: int = ROOM) -> None:
        """Begin.

        Args:
            room: Bytes that are kept in memory.
        """
        self._room = room
        self._file: int | None = None
        self._end = 0

    def put(self, piece: bytes) -> Piece:
        """Take a piece. Where the disk takes none, it stays in memory."""
        if len(piece) <= self._room:
            self._room -= len(piece)
            return Piece(piece)
        try:
            if self._file is None:
                self._file = _unnamed()
                weakref.finalize(self, os.close, self._file)
            whole = os.pwrite(self._file, piece, self._end) == len(piece)
        except OSError:
            whole = False
        if not whole:
            return Piece(piece)
        start, self._end = self._end, self._end + len(piece)
        return Piece(None, self, start, len(piece))

    def read(self, start: int, length: int) -> bytes:
        """Give back what stands in the file.

        Raises:
            BundleError: The disk does not give it.
        """
        where = f"the temporary file in {tempfile.gettempdir()}"
        try:
            piece = b"" if self._file is None else os.pread(self._file, length, start)
        except OSError as error:
            raise BundleError(f"{where} cannot be read: {error.strerror}; set TMPDIR to another directory") from error
        if len(piece) != length:
            raise BundleError(f"{where} was cut while it was in use; set TMPDIR to another directory")
        return piece


class Piece:
    """A piece that was put aside."""

    __slots__ = ("_bytes", "_length", "_spill", "_start")

    def __init__(self, content: bytes | None, spill: Spill | None = None, start: int = 0, length: int = 0) -> None:
        self._bytes = content
        self._spill = spill
        self._start = start
        self._length = length

    def read(self) -> bytes:
        """The bytes.

        Raises:
            BundleError: As of `Spill.read`.
        """
        if self._bytes is not None or self._spill is None:
            return self._bytes or b""
        return self._spill.read(self._start, self._length)


def _unnamed() -> int:
    descriptor, path = tempfile.mkstemp(prefix="fumehood-")
    os.unlink(path)  # noqa: PTH108 - of a path that is a string
    return descriptor
