"""Delivers what is due. `fumehood serve` does it: hosts that run packages need no way to other systems."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx2
import msgspec
import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from sandbox import versions
from sandbox.database import writing
from sandbox.database.schema import DELIVERIES, SUBMISSIONS
from sandbox.errors import WebhookError
from sandbox.webhooks.receivers import receiver_of, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine, RowMapping

    from sandbox.webhooks.receivers import Receiver

TRIES: Final = 10
"""Over about a day."""
_FIRST_WAIT_S: Final = 10.0
_LONGEST_WAIT_S: Final = 6 * 3600.0
_GROWTH: Final = 4.0
_ANSWER_S: Final = 15.0
"""From the beginning of a request to the head of its answer, whatever it does in between."""
_LEASE_S: Final = 60.0
"""Longer than any attempt: whoever took a delivery and died is followed by another."""
_AT_ONCE: Final = 8
_REASON: Final = 200

_log = structlog.get_logger(__name__)


class _Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that this process has taken."""

    id: str
    submission: str | None
    event: str
    content: dict[str, Any] | None
    """What is told, when it is not of a submission."""
    url: str
    attempts: int
    """This one included."""


class Deliverer:
    """Takes deliveries that are due, and makes them. Several processes may do so beside each other."""

    def __init__(
        self,
        engine: Engine,
        receivers: Sequence[Receiver],
        clock: Callable[[], float] = time.time,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare.

        Args:
            engine: The database.
            receivers: Who may be told; a delivery to anybody else fails.
            clock: UTC seconds since the epoch.
            transport: How requests are made; `None` for plain connections, by no proxy.
        """
        self._engine = engine
        self._receivers = receivers
        self._clock = clock
        self._transport = transport

    async def run(self, idle_s: float = 1.0) -> None:
        """Deliver until cancelled."""
        async with self._client() as client:
            while True:
                try:
                    told = await self._step(client)
                except DBAPIError as error:
                    _log.warning("webhooks wait for the database", reason=str(error.orig)[:_REASON])
                    told = 0
                if not told:
                    await asyncio.sleep(idle_s)

    async def step(self) -> int:
        """Deliver what is due now, once; how many were tried."""
        async with self._client() as client:
            return await self._step(client)

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=_ANSWER_S,
            transport=self._transport,
            headers={"User-Agent": f"fumehood/{versions.fumehood()}"},
        )

    async def _step(self, client: httpx2.AsyncClient) -> int:
        taken = await asyncio.to_thread(self._take)
        await asyncio.gather(*(self._deliver(client, it) for it in taken))
        return len(taken)

    def _take(self) -> list[_Due]:
        """Claim deliveries by moving their time on; who comes second finds it moved."""
        now = self._clock()
        table = DELIVERIES.c
        columns = (table.id, table.submission, table.event, table.content, table.url, table.attempts, table.due)
        with self._engine.connect() as connection:
            due = connection.execute(
                select(*columns)
                .where(table.state == "pending", table.due <= now)
                .order_by(table.due, table.id)
                .limit(_AT_ONCE)
            ).all()
        taken = []
        for row in due:
            with writing(self._engine) as connection:
                ours = connection.execute(
                    update(DELIVERIES)
                    .where(table.id == row.id, table.state == "pending", table.due == row.due)
                    .values(due=now + _LEASE_S, attempts=row.attempts + 1)
                ).rowcount
            if ours:
                taken.append(
                    _Due(
                        id=row.id,
                        submission=row.submission,
                        event=row.event,
                        content=row.content,
                        url=row.url,
                        attempts=row.attempts + 1,
                    )
                )
        return taken

    async def _deliver(self, client: httpx2.AsyncClient, due: _Due) -> None:
        try:
            receiver = receiver_of(self._receivers, due.url)
            body = await asyncio.to_thread(self._body, due)
            refusal, final = await self._send(client, due, receiver, body)
        except WebhookError as error:
            refusal, final = str(error), True
        await asyncio.to_thread(self._note, due, refusal, final or due.attempts >= TRIES)

    async def _send(self, client: httpx2.AsyncClient, due: _Due, receiver: Receiver, body: bytes) -> tuple[str, bool]:
        """Why it was not taken (empty when it was), and whether trying again is of no use."""
        headers = {
            "Content-Type": "application/json",
            "Fumehood-Event": due.event,
            "Fumehood-Delivery": due.id,
            "Fumehood-Signature": sign(receiver.secret, int(self._clock()), body),
        }
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                # The body of the answer is not read: nobody needs it, and it may be endless.
                client.stream("POST", due.url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except TimeoutError:
            return f"no answer within {_ANSWER_S:.0f} seconds", False
        except httpx2.HTTPError as error:
            return f"{type(error).__name__}: {error}"[:_REASON], False
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return "", False
        if status < HTTPStatus.BAD_REQUEST:
            return f"the answer was {status}; redirects are not followed", False
        return f"the answer was {status}", status == HTTPStatus.GONE

    def _body(self, due: _Due) -> bytes:
        if due.content is not None:
            return msgspec.json.encode({"delivery": due.id, "event": due.event, **due.content})
        with self._engine.connect() as connection:
            row = connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.id == due.submission)).mappings().one()
        return msgspec.json.encode({"delivery": due.id, "event": due.event, "submission": _told(row)})

    def _note(self, due: _Due, refusal: str, over: bool) -> None:
        now = self._clock()
        if not refusal:
            values: dict[str, Any] = {"state": "delivered", "ended": now, "reason": ""}
        elif over:
            _log.error("webhook given up", delivery=due.id, submission=due.submission, reason=refusal)
            values = {"state": "failed", "ended": now, "reason": refusal}
        else:
            values = {"due": now + wait_after(due.attempts), "reason": refusal}
        mine = (DELIVERIES.c.id == due.id, DELIVERIES.c.state == "pending", DELIVERIES.c.attempts == due.attempts)
        with writing(self._engine) as connection:
            connection.execute(update(DELIVERIES).where(*mine).values(**values))


def wait_after(attempts: int) -> float:
    """Seconds until the next attempt: longer each time, and never quite the same for many at once."""
    longest = min(_FIRST_WAIT_S * _GROWTH ** (attempts - 1), _LONGEST_WAIT_S)
    return longest * (0.75 + secrets.randbelow(1000) / 4000)


def _told(row: RowMapping) -> dict[str, Any]:
    kept = ("id", "state", "lane", "package", "profile", "submitter", "origin", "attempt", "reason", "run")
    return {
        **{name: row[name] for name in kept},
        "upload": row["upload"] or None,
        "sha256": row["sha256"] or None,
        "verdict": row["verdict"] or None,
        "created": _instant(row["created"]),
        "ended": None if row["ended"] is None else _instant(row["ended"]),
    }


def _instant(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
