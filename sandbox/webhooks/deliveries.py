"""Looks at deliveries, and tries them again by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from sqlalchemy import select, tuple_, update

from sandbox.database import writing
from sandbox.database.schema import DELIVERIES

if TYPE_CHECKING:
    from sqlalchemy import Engine, RowMapping

State: TypeAlias = Literal["waiting", "pending", "delivered", "failed"]


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery; `sandbox.database.schema` says what each column means."""

    id: str
    submission: str
    event: str
    url: str
    state: State
    created: float
    attempts: int
    due: float
    ended: float | None
    reason: str


def listed(
    engine: Engine, state: State | None, submission: str | None, after: tuple[float, str] | None, limit: int
) -> list[DeliveryRow]:
    """Deliveries, the newest first.

    Args:
        engine: The database.
        state: Only those in this state.
        submission: Only those of this submission.
        after: Instant and id of the last one that was seen already.
        limit: How many at most.
    """
    table = DELIVERIES.c
    chosen = select(DELIVERIES)
    if state is not None:
        chosen = chosen.where(table.state == state)
    if submission is not None:
        chosen = chosen.where(table.submission == submission)
    if after is not None:
        chosen = chosen.where(tuple_(table.created, table.id) < tuple_(*after))
    with engine.connect() as connection:
        rows = connection.execute(chosen.order_by(table.created.desc(), table.id.desc()).limit(limit)).mappings()
        return [_read(row) for row in rows]


def retry(engine: Engine, identifier: str, now: float) -> DeliveryRow | None:
    """Have a delivery that was given up tried again; any other stays as it is. `None`: no such delivery."""
    table = DELIVERIES.c
    with writing(engine) as connection:
        connection.execute(
            update(DELIVERIES)
            .where(table.id == identifier, table.state == "failed")
            .values(state="pending", attempts=0, due=now, ended=None)
        )
        row = connection.execute(select(DELIVERIES).where(table.id == identifier)).mappings().first()
        return _read(row) if row else None


def _read(row: RowMapping) -> DeliveryRow:
    return msgspec.convert({str(name): value for name, value in row.items()}, DeliveryRow)
