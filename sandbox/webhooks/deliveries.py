"""Looks at deliveries, and tries them again by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from sqlalchemy import insert, select, tuple_, update

from sandbox.database import writing
from sandbox.database.schema import DELIVERIES
from sandbox.submissions import identifiers

if TYPE_CHECKING:
    from sqlalchemy import Engine, RowMapping

State: TypeAlias = Literal["waiting", "pending", "delivered", "failed"]


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery; `sandbox.database.schema` says what each column means."""

    id: str
    submission: str
    """Empty when it tells of something else."""
    event: str
    url: str
    state: State
    created: float
    attempts: int
    due: float
    ended: float | None
    reason: str


def tell(engine: Engine, event: str, content: dict[str, Any], url: str, now: float) -> str:
    """Commit a message that is not of a submission's end; it is due at once.

    Args:
        engine: The database.
        event: What it is, e.g. `sweeps.digest`.
        content: Members of the JSON object that is sent.
        url: Whom to tell; delivered only below one of the configuration's `webhooks`.
        now: UTC seconds since the epoch.

    Returns:
        Its id.
    """
    made = {
        "id": identifiers.new(now),
        "submission": None,
        "event": event,
        "content": content,
        "url": url,
        "state": "pending",
        "created": now,
        "attempts": 0,
        "due": now,
        "ended": None,
        "reason": "",
    }
    with writing(engine) as connection:
        connection.execute(insert(DELIVERIES), made)
    return str(made["id"])


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
    plain = {str(name): value for name, value in row.items()}
    return msgspec.convert(plain | {"submission": row["submission"] or ""}, DeliveryRow)
