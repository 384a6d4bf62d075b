"""Files that a sweep's plan names, read with a bound."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from sandbox.sweeps.feeds.feed import FeedError, Refused
from sandbox.sweeps.feeds.names import parts_of, read_package

if TYPE_CHECKING:
    from pathlib import Path

_MAX_LIST_BYTES: Final = 8 * 1024**2


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        FeedError: It cannot be read, is not a regular file, or is larger than `limit` bytes.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise FeedError(f"{path} is not a regular file; name another in the sweep")
            data = stream.read(limit + 1)
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}; check the path in the sweep") from error
    if len(data) > limit:
        raise FeedError(f"{path} is larger than {limit // 1024**2} MiB; split it")
    return data


def read_lines(path: Path) -> list[str]:
    """A list's lines, as they stand in the file; comments and empty lines are empty strings."""
    text = read_bounded(path, _MAX_LIST_BYTES).decode("utf-8", "replace")
    return [line.partition("#")[0].strip() for line in text.splitlines()]


def read_watch_list(path: Path, most: int) -> tuple[tuple[str, ...], Refused]:
    """Names of projects, normalised, each once, in the file's order; and what could not be read.

    Raises:
        FeedError: As `read_bounded`; or there are more than `most` names.
    """
    refused = Refused("lines of the watch-list")
    names: dict[str, None] = {}
    for line in filter(None, read_lines(path)):
        try:
            names[parts_of(read_package(line))[0]] = None
        except ValueError as error:
            refused.add(line, str(error))
    if len(names) > most:
        raise FeedError(f"{path} names {len(names)} projects; a watch-list may have {most}: split it into more sweeps")
    return tuple(names), refused


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; opening a FIFO would otherwise wait for a writer before it could be refused."""
    return os.open(path, flags | os.O_NONBLOCK)
