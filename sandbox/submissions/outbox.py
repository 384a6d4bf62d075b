"""Who is to be told of ends, in the transactions of those ends: nothing is told that did not happen, or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import func, insert, select, update

from sandbox.database.schema import DELIVERIES, SUBMISSIONS
from sandbox.submissions import identifiers
from sandbox.submissions.model import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

_UNDER_WAY: Final = ("waiting", "pending")
_MOST: Final = 64
"""Of those who wait for one submission; further ones learn its end by asking."""


def subscribe(connection: Connection, submission: str, url: str, now: float) -> None:
    """Have a URL told the end of a submission, once, and at once if that has come already. Nothing for an empty URL.

    Who was told already is not told again; who could not be told is tried again, from the beginning.
    """
    if not url:
        return
    # Held, so that no end comes in between that would not see what is added here, and nobody else adds the same.
    here = select(SUBMISSIONS.c.state).where(SUBMISSIONS.c.id == submission).with_for_update()
    state = connection.execute(here).scalar_one()
    table = DELIVERIES.c
    latest = connection.execute(
        select(table.id, table.state)
        .where(table.submission == submission, table.url == url)
        .order_by(table.created.desc(), table.id.desc())
        .limit(1)
    ).one_or_none()
    if latest and (latest.state in _UNDER_WAY or (latest.state == "delivered" and state in FINAL)):
        return
    if latest and state in FINAL:
        anew = {"state": "pending", "event": f"submission.{state}", "attempts": 0, "due": now, "ended": None}
        connection.execute(update(DELIVERIES).where(table.id == latest.id).values(**anew))
        return
    under_way = (table.submission == submission, table.state.in_(_UNDER_WAY))
    if connection.execute(select(func.count()).select_from(DELIVERIES).where(*under_way)).scalar_one() >= _MOST:
        return
    _add(connection, submission, [url], now)
    if state in FINAL:
        ended(connection, submission, state, now)


def ended(connection: Connection, submission: str, state: str, now: float) -> None:
    """A submission came to its end: what waits for that is due."""
    connection.execute(
        update(DELIVERIES)
        .where(DELIVERIES.c.submission == submission, DELIVERIES.c.state == "waiting")
        .values(state="pending", event=f"submission.{state}", due=now)
    )


def again(connection: Connection, submission: str, now: float) -> None:
    """A submission that had ended is queued again: whoever was told one end is told the next one too."""
    told = connection.execute(select(DELIVERIES.c.url).where(DELIVERIES.c.submission == submission).distinct())
    _add(connection, submission, sorted({*told.scalars()} - _waiting(connection, submission))[:_MOST], now)


def _waiting(connection: Connection, submission: str) -> set[str]:
    here = (DELIVERIES.c.submission == submission, DELIVERIES.c.state == "waiting")
    return set(connection.execute(select(DELIVERIES.c.url).where(*here)).scalars())


def _add(connection: Connection, submission: str, urls: Iterable[str], now: float) -> None:
    for url in urls:
        connection.execute(
            insert(DELIVERIES),
            {
                "id": identifiers.new(now),
                "submission": submission,
                "event": "",
                "content": None,
                "url": url,
                "state": "waiting",
                "created": now,
                "attempts": 0,
                "due": now,
                "ended": None,
                "reason": "",
            },
        )
