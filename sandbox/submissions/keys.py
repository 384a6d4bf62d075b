"""Idempotency keys: the same request again is answered by the same submission, and another one is refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import delete, insert, select

from sandbox.database import writing
from sandbox.database.schema import KEYS
from sandbox.errors import KeyReusedError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sandbox.submissions.model import Request, Submitted

KEPT_S: Final = 7 * 86_400.0
"""So long a key is known. Whoever repeats a request does so within hours."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a key was answered by."""

    submission: str
    made: bool
    """Whether the submission was made for the request."""


def known(connection: Connection, request: Request, now: float) -> Known | None:
    """What answered this request when it came with its key before, within the caller's transaction.

    Raises:
        KeyReusedError: Another request came with the key.
    """
    if request.idempotency_key is None:
        return None
    table = KEYS.c
    mine = (table.submitter == request.submitter, table.key == request.idempotency_key)
    row = connection.execute(
        select(table.request, table.submission, table.made, table.created).where(*mine)
    ).one_or_none()
    if row is None:
        return None
    if row.created < now - KEPT_S:
        connection.execute(delete(KEYS).where(*mine))
        return None
    if row.request != _asked(request):
        raise KeyReusedError("this Idempotency-Key was used for another request; choose a new key for new work")
    return Known(submission=row.submission, made=row.made)


def note(connection: Connection, request: Request, made: Submitted, now: float) -> None:
    """Keep what a request with a key was answered by, within the caller's transaction."""
    if request.idempotency_key is not None:
        row = {
            "submitter": request.submitter,
            "key": request.idempotency_key,
            "request": _asked(request),
            "submission": made.submission.id,
            "made": made.created,
            "created": now,
        }
        connection.execute(insert(KEYS), row)


def forget(engine: Engine, now: float) -> int:
    """Remove keys that are known no longer; how many those were."""
    old = KEYS.c.created < now - KEPT_S
    with engine.connect() as connection:
        if connection.execute(select(KEYS.c.key).where(old).limit(1)).first() is None:
            return 0
    with writing(engine) as connection:
        return connection.execute(delete(KEYS).where(old)).rowcount


def _asked(request: Request) -> str:
    """Digest of what the sender asked for; not of rules and profiles, which may be others when they ask again."""
    parts = (
        request.upload or request.package,
        request.artefact,
        request.profile,
        request.pod,
        request.runtime,
        request.lane,
        request.origin,
        request.webhook,
        request.force,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
