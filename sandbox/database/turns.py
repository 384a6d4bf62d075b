"""Who may wait for SQLite's only right to write, when somebody keeps it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRIMARY: Final = 0xFF
"""SQLite's further codes have the primary one in their lowest byte."""


class Turns:
    """Of one engine, safe for threads.

    Each thread that waits for another process's lock serves nobody. So once one has waited in vain, the others are
    refused at once, but for one at a time, which finds out when the lock is gone.
    """

    def __init__(self, *, bounded: bool) -> None:
        """Begin with everybody waiting as long as the database does; always so, if not bounded."""
        self._bounded = bounded
        self._kept = False
        """Whether the last who waited did so in vain."""
        self._trying = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around asking for the right to write.

        Raises:
            OperationalError: Somebody else keeps it, and another thread waits for that to end already.
        """
        if not (self._bounded and self._kept):
            with self._watched():
                yield
            return
        if not self._trying.acquire(blocking=False):
            raise _busy()
        try:
            with self._watched():
                yield
        finally:
            self._trying.release()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0)
            self._kept = code & _PRIMARY == sqlite3.SQLITE_BUSY
            raise
        self._kept = False


def _busy() -> OperationalError:
    """As SQLite says it, so that whoever can wait for that does."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error.sqlite_errorname = "SQLITE_BUSY"
    return OperationalError("BEGIN IMMEDIATE", None, error)
