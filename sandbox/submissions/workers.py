"""Who works: a row for each supervisor that lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import delete, insert, select, update

from sandbox.database import writing
from sandbox.database.schema import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Engine

GONE_S: Final = 60
"""A worker that was not seen for so long is gone."""
_FORGOTTEN_S: Final = 86_400
"""After so long the row of a worker that died without a word goes."""


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor and its slots; `sandbox.database.schema` says what each column means."""

    name: str
    host: str
    slots: int
    started: float
    seen: float
    draining: bool


def register(engine: Engine, worker: WorkerRow) -> None:
    """Enter a worker."""
    with writing(engine) as connection:
        _enter(connection, worker)


def _enter(connection: Connection, worker: WorkerRow) -> None:
    connection.execute(delete(WORKERS).where(WORKERS.c.seen < worker.seen - _FORGOTTEN_S))
    connection.execute(insert(WORKERS), msgspec.structs.asdict(worker))


def seen(engine: Engine, worker: WorkerRow, now: float) -> bool:
    """Note that a worker lives; whether it is to drain. One whose row is gone is entered again."""
    with writing(engine) as connection:
        row = connection.execute(
            update(WORKERS).where(WORKERS.c.name == worker.name).values(seen=now).returning(WORKERS.c.draining)
        ).first()
        if row is None:
            _enter(connection, msgspec.structs.replace(worker, seen=now))
            return False
        return bool(row[0])


def drain(engine: Engine, name: str) -> bool:
    """Ask a worker to finish what it runs and end; False when there is none of that name."""
    with writing(engine) as connection:
        return bool(connection.execute(update(WORKERS).where(WORKERS.c.name == name).values(draining=True)).rowcount)


def leave(engine: Engine, name: str) -> None:
    """Take a worker out: it ends."""
    with writing(engine) as connection:
        connection.execute(delete(WORKERS).where(WORKERS.c.name == name))


def listed(engine: Engine) -> list[WorkerRow]:
    """All that are known, by name."""
    with engine.connect() as connection:
        rows = connection.execute(select(WORKERS).order_by(WORKERS.c.name)).mappings()
        return [msgspec.convert({str(key): value for key, value in row.items()}, WorkerRow) for row in rows]


def alive(rows: Iterable[WorkerRow], now: float) -> list[WorkerRow]:
    """Those that were seen lately."""
    return [row for row in rows if now - row.seen < GONE_S]
