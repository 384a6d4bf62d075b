"""Looks at watched submissions for everybody who waits for them: one question to the database, however many wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sandbox.api.problems import ProblemError
from sandbox.submissions import search
from sandbox.submissions.model import FINAL, Submission

_EVERY_S: Final = 0.5
MOST: Final = 256
"""Who may wait at one time."""

_log = structlog.get_logger(__name__)


class Watcher:
    """Tells changes of submissions; belongs to one event loop."""

    def __init__(self, engine: Engine, of_each: int) -> None:
        """Prepare.

        Args:
            engine: The database.
            of_each: Who comes with one key may wait so many times at one time.
        """
        self._engine = engine
        self._of_each = of_each
        self._waiting: Counter[str] = Counter()
        """How many wait, by key."""
        self._watched: Counter[str] = Counter()
        self._rows: dict[str, Submission] = {}
        self._begun = self._seen = 0
        """Number of the look that began last, and of the one that `_rows` is from."""
        self._round = asyncio.Condition()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            if self._watched:
                self._begun += 1
                try:
                    self._rows = await asyncio.to_thread(search.of, self._engine, tuple(self._watched))
                    self._seen = self._begun
                except DBAPIError as error:
                    _log.warning("watching waits for the database", reason=str(error.orig)[:200])
            async with self._round:
                self._round.notify_all()

    @contextmanager
    def place(self, key: str) -> Iterator[None]:
        """Have a place among those who wait, as long as the context lasts.

        Raises:
            ProblemError: Whoever comes with this key has too many (429), or all have together (503).
        """
        if self._waiting[key] >= self._of_each:
            raise _no_place(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._of_each} streams of events of this token are open; close some, or ask for the submission now "
                "and then instead",
            )
        if self._waiting.total() >= MOST:
            raise _no_place(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MOST} streams of events are open; ask for the submission now and then instead, or try again later",
            )
        self._waiting[key] += 1
        try:
            yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def changes(self, seen: Submission) -> AsyncGenerator[Submission]:
        """Every state of a submission that differs from the last one, until its end; and `seen` again in each pause.

        The pause lets whoever iterates look whether it should go on.
        """
        self._watched[seen.id] += 1
        # Not compared by their instants: those are of several hosts, whose clocks differ.
        older = self._begun
        try:
            while seen.state not in FINAL:
                async with self._round:
                    await self._round.wait()
                # The look may be older than what the watcher came with.
                if self._seen > older:
                    seen = self._rows.get(seen.id, seen)
                yield seen
        finally:
            self._watched[seen.id] -= 1
            if not self._watched[seen.id]:
                del self._watched[seen.id]
                self._rows.pop(seen.id, None)


def _no_place(status: HTTPStatus, detail: str) -> ProblemError:
    return ProblemError(status, "too-many-streams", detail, headers={"Retry-After": "30"})
