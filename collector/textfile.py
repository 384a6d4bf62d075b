"""Reads the small text files that people write: bounded, regular, UTF-8, with errors a person can act on."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from collector.located import Sort

_KIB, _MIB = 1 << 10, 1 << 20


def read_text(path: Path, label: str, sort: Sort, most: int) -> str:
    """The text of a file.

    Args:
        path: Where it is.
        label: How errors name it.
        sort: What sort of file it is, and which error says so.
        most: Bytes; no such file is larger.

    Raises:
        Exception: Of the sort: it cannot be read, is no regular file, too large, or not UTF-8.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise sort.error(f"{label}: a {sort.noun} must be a regular file")
            data = stream.read(most + 1)
    except OSError as error:
        raise sort.error(f"{label}: cannot be read: {error.strerror}; check the path") from error
    if len(data) > most:
        size = f"{most // _MIB} MiB" if most >= _MIB else f"{most // _KIB} KiB"
        raise sort.error(f"{label}: larger than {size}; this cannot be a {sort.noun}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise sort.error(f"{label}:{line}: not UTF-8; save the file as UTF-8 text") from error


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; opening a FIFO would otherwise wait for a writer before it could be refused."""
    return os.open(path, flags | os.O_NONBLOCK)
