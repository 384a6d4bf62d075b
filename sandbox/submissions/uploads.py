"""Which uploads are needed: said before they are kept, so that whoever removes old ones never takes one that just came.

Who submits a file says so first, then keeps it, then commits the submission. Who removes one asks in a transaction that
holds up whoever says so, and ends only when the file is gone: it was said before, and the file stays; or it waits until
the file is gone, and keeps it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from sandbox.database import writing
from sandbox.database.schema import SUBMISSIONS, UPLOADS
from sandbox.errors import UploadRemovedError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sandbox.evidence import EvidenceStore

_INSERT: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def want(engine: Engine, sha256: str, now: float) -> None:
    """Say that an upload is about to be kept, or kept already and submitted again.

    Args:
        engine: The database.
        sha256: Of the file.
        now: UTC seconds since the epoch.
    """
    with writing(engine) as connection:
        made = _INSERT[connection.dialect.name](UPLOADS).values(sha256=sha256, wanted=now)
        connection.execute(made.on_conflict_do_update(index_elements=[UPLOADS.c.sha256], set_={"wanted": now}))


def want_again(engine: Engine, evidence: EvidenceStore, sha256: str, now: float) -> None:
    """The same for one that has to be there, as nobody sends it anew.

    Raises:
        UploadRemovedError: It is not kept any more.
    """
    want(engine, sha256, now)
    if not evidence.keeps_upload(sha256):
        raise UploadRemovedError(f"the file of the upload {sha256} is not kept any more; submit the file again")


def forget_old(engine: Engine, since: float) -> None:
    """Forget what was said before that moment: it says no more than silence."""
    with writing(engine) as connection:
        connection.execute(delete(UPLOADS).where(UPLOADS.c.wanted < since))


def is_wanted(connection: Connection, sha256: str, since: float) -> bool:
    """Whether a submission waits for it, runs, or has ended since then."""
    table = SUBMISSIONS.c
    query = select(table.id).where(
        table.upload == sha256,
        or_(table.state.in_(("queued", "running")), table.changed >= since),
    )
    return connection.execute(query.limit(1)).first() is not None


def forget(connection: Connection, sha256: str, since: float) -> bool:
    """Whether nobody has needed it since then; it may be removed before the caller's transaction ends, not later.

    From now to its end, the transaction holds up whoever wants the upload.
    """
    made = _INSERT[connection.dialect.name](UPLOADS).values(sha256=sha256, wanted=0.0)
    # Changes nothing of a row that is there, but locks it.
    locked = made.on_conflict_do_update(index_elements=[UPLOADS.c.sha256], set_={"wanted": UPLOADS.c.wanted})
    wanted: float = connection.execute(locked.returning(UPLOADS.c.wanted)).scalar_one()
    if wanted >= since or is_wanted(connection, sha256, since):
        return False
    connection.execute(delete(UPLOADS).where(UPLOADS.c.sha256 == sha256))
    return True
