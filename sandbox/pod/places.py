"""Looks into a directory that a package could write to: no link is followed, and nothing is opened that could block.

It runs inside both pods, as `sandbox.pod.dropped` does: nothing but the standard library.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe's reader would wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Named = tuple[bytes, os.stat_result]
"""A name in a directory, and what it is."""


class Place:
    """A writable directory, entered step by step: no part of a path may be a link."""

    def __init__(self, directory: str) -> None:
        """Open it, by its path here."""
        self._root = os.open(directory, _DIRECTORY)
        self._device = os.fstat(self._root).st_dev

    def close(self) -> None:
        """Let it go."""
        os.close(self._root)

    @contextmanager
    def entered(self, parts: tuple[bytes, ...]) -> Iterator[int]:
        """Open a directory below; OSError when it is none, or lies on another file system."""
        descriptor = os.dup(self._root)
        try:
            for part in parts:
                deeper = os.open(part, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
            if os.fstat(descriptor).st_dev != self._device:
                raise OSError("another file system")
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def opened(self, parts: tuple[bytes, ...]) -> Iterator[FileIO]:
        """Open a regular file below for reading."""
        with self.entered(parts[:-1]) as directory:
            descriptor = os.open(parts[-1], _FILE, dir_fd=directory)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("not a regular file")
            yield file

    def target(self, parts: tuple[bytes, ...]) -> bytes:
        """What a symbolic link says."""
        with self.entered(parts[:-1]) as directory:
            return os.readlink(parts[-1], dir_fd=directory)


def names_in(place: Place, parts: tuple[bytes, ...], most: int) -> tuple[list[Named], bool]:
    """The names in a directory in order, with what they are, and whether these are all."""
    found: list[Named] = []
    with place.entered(parts) as directory, os.scandir(directory) as entries:
        for entry in entries:
            if len(found) >= most:
                return sorted(found, key=lambda pair: pair[0]), False
            with suppress(FileNotFoundError):
                found.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda pair: pair[0]), True
