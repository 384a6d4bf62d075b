"""Directories that become something when they are complete: one in use is told from one that a crash left."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARTIAL: Final = ".partial"


class PartialDirectory:
    """`<parent>/<name>.partial`, private, and locked while this process lives, however it ends."""

    def __init__(self, parent: Path, name: str) -> None:
        """Make it, and remove those that crashed processes left beside it.

        Raises:
            OSError: The directory cannot be made.
        """
        self.path = parent / f"{name}{_PARTIAL}"
        parent.mkdir(parents=True, exist_ok=True)
        with _registered(parent):
            _remove_stale(parent)
            self.path.mkdir(mode=0o700)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove what is still in it."""
        shutil.rmtree(self.path)
        os.close(self._lock)


def remove_stale(parent: Path) -> None:
    """Remove what crashed processes left below `parent`, which is there; what is in use stays."""
    with _registered(parent):
        _remove_stale(parent)


def sync(path: Path) -> None:
    """Have a file or directory written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _registered(parent: Path) -> Iterator[None]:
    """Alone among all processes: between a directory's making and its locking nobody may take it for a crash's."""
    descriptor = os.open(parent / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(parent: Path) -> None:
    for directory in sorted(parent.glob(f"*{_PARTIAL}")):
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            # Its process was just removing it.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(descriptor)
