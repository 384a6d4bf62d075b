"""Which errors of a database pass by themselves, and how one is told."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Somebody else writes, the disk is full or away, memory is short."""
_POSTGRESQL: Final = (
    "08",  # connection exception
    "25006",  # read-only: the standby answers while its primary is replaced
    "40",  # serialization failure, deadlock
    "53",  # insufficient resources: disk, memory, connections
    "55P03",  # lock not available
    "57P",  # shut down, crashed, starting up
    "58",  # the system's own errors: input and output
)
"""Classes and codes of SQLSTATE."""
_PRIMARY: Final = 0xFF
"""SQLite's further codes have the primary one in their lowest byte."""
_LONGEST: Final = 200


def passes(error: DBAPIError) -> bool:
    """Whether the same may go well later: the database is away, busy or full, and not what it was asked at fault."""
    if error.connection_invalidated:
        return True
    orig = error.orig
    if isinstance(orig, sqlite3.Error):
        code = getattr(orig, "sqlite_errorcode", None)
        return code is not None and code & _PRIMARY in _SQLITE
    state = getattr(orig, "sqlstate", None)
    # Without a state the server has not answered at all; what the driver itself refuses to send has none either.
    return state.startswith(_POSTGRESQL) if state else type(orig).__name__ in {"OperationalError", "InterfaceError"}


def told(error: DBAPIError) -> str:
    """What the database says, in one bounded line: further ones may hold values, which may be a package's text."""
    lines = str(error.orig).strip().splitlines()
    return lines[0][:_LONGEST] if lines else type(error.orig).__name__
