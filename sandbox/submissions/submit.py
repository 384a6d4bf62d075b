"""Takes requests in: a new row, or the earlier one that answers for the same work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from sandbox.database import writing
from sandbox.database.schema import SUBMISSIONS
from sandbox.errors import LaneFullError
from sandbox.submissions import identifiers, keys, outbox
from sandbox.submissions.model import LANES, Submission, Submitted
from sandbox.submissions.query import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Engine

    from sandbox.submissions.model import Lane, Request

_TRIES = 3
"""Of a request that meets another one for the same work between its look and its insert."""


def identity(request: Request) -> str:
    """Digest of what is to be done: equal for equal work, whoever asks."""
    parts = (
        request.upload or request.package,
        request.artefact,
        request.profile_sha256,
        request.rules_sha256,
        request.pod,
        request.runtime,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def submit(engine: Engine, request: Request, now: float, full: Mapping[Lane, int] | None = None) -> Submitted:
    """Commit a request.

    Args:
        engine: The database.
        request: What to run.
        now: UTC seconds since the epoch.
        full: How many submissions may wait in a lane; lanes without a number have no bound.

    Returns:
        The row that answers, and whether it is new. It is committed; queueing it is the caller's next step, which may
        fail: the reconciler makes up for it.

    Raises:
        LaneFullError: Too many wait in the lane already.
        KeyReusedError: The request's idempotency key came with another request before.
    """
    for _ in range(_TRIES - 1):
        try:
            return _submit(engine, request, now, full or {})
        except IntegrityError:
            continue
    return _submit(engine, request, now, full or {})


def _submit(engine: Engine, request: Request, now: float, full: Mapping[Lane, int]) -> Submitted:
    same = identity(request)
    with writing(engine) as connection:
        known = keys.known(connection, request, now)
        if known:
            repeated = _find(connection, SUBMISSIONS.c.id == known.submission)
            if repeated:
                return Submitted(submission=repeated, created=False, ours=known.made)
        made = _answered(connection, request, same, now, full)
        keys.note(connection, request, made, now)
        return made


def _answered(connection: Connection, request: Request, same: str, now: float, full: Mapping[Lane, int]) -> Submitted:
    if not request.force:
        earlier = _find(connection, SUBMISSIONS.c.standing == same)
        if earlier:
            outbox.subscribe(connection, earlier.id, request.webhook, now)
            return _lifted(connection, earlier, request.lane, now)
    _check_room(connection, request.lane, full)
    row = _row(request, same, now)
    connection.execute(insert(SUBMISSIONS), row)
    outbox.subscribe(connection, str(row["id"]), request.webhook, now)
    return Submitted(submission=msgspec.convert(row, Submission), created=True, ours=True)


def _find(connection: Connection, *conditions: ColumnElement[bool]) -> Submission | None:
    row = connection.execute(select(SUBMISSIONS).where(*conditions)).mappings().first()
    return read(row) if row else None


def _lifted(connection: Connection, earlier: Submission, lane: Lane, now: float) -> Submitted:
    """Move a waiting submission to a more urgent lane."""
    if earlier.state != "queued" or LANES.index(lane) >= LANES.index(earlier.lane):
        return Submitted(submission=earlier, created=False)
    connection.execute(
        update(SUBMISSIONS)
        .where(SUBMISSIONS.c.id == earlier.id, SUBMISSIONS.c.state == "queued")
        .values(lane=lane, changed=now)
    )
    return Submitted(submission=msgspec.structs.replace(earlier, lane=lane, changed=now), created=False, lifted=True)


def _check_room(connection: Connection, lane: Lane, full: Mapping[Lane, int]) -> None:
    if lane not in full:
        return
    waiting = connection.execute(
        select(func.count()).select_from(SUBMISSIONS).where(SUBMISSIONS.c.state == "queued", SUBMISSIONS.c.lane == lane)
    ).scalar_one()
    if waiting >= full[lane]:
        raise LaneFullError(
            f"{waiting} submissions wait in the lane {lane!r}, which is full; try again later, or add workers"
        )


def _row(request: Request, same: str, now: float) -> dict[str, object]:
    return {
        "id": identifiers.new(now),
        "lane": request.lane,
        "state": "queued",
        "created": now,
        "changed": now,
        "package": request.package,
        "upload": request.upload,
        "artefact": request.artefact,
        "profile": request.profile,
        "profile_sha256": request.profile_sha256,
        "rules_sha256": request.rules_sha256,
        "pod": request.pod,
        "runtime": request.runtime,
        "identity": same,
        # A forced run answers for its work once it is done, not before.
        "standing": None if request.force else same,
        "submitter": request.submitter,
        "origin": request.origin,
        "attempt": 0,
        "budget": request.budget,
        "owner": "",
        "lease_until": 0.0,
        "not_before": 0.0,
        "cancel": False,
        "progress": {},
        "ended": None,
        "reason": "",
        "sha256": "",
        "run": None,
        "verdict": "",
    }
