"""Holds the evidence against its seals, and the rows against the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from sqlalchemy import select

from collector.store.schema import EVIDENCE
from sandbox.errors import EvidenceDamagedError, EvidenceMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

    from sandbox.evidence import EvidenceStore


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it must be."""

    run: str
    fault: Literal["damaged", "missing", "other", "no-rows", "not-removed"]
    """`damaged`: it is not what was stored. `missing`: rows say that it is there. `other`: it is not what the rows are
    of. `no-rows`: there are none of it. `not-removed`: rows say that it was removed."""
    message: str


def names(engine: Engine, evidence: EvidenceStore) -> list[str]:
    """All runs whose evidence is stored, or should be, in order."""
    with engine.connect() as connection:
        expected = connection.execute(select(EVIDENCE.c.run).where(EVIDENCE.c.removed.is_(None))).scalars().all()
    return sorted({*expected, *evidence.runs()})


def verify(engine: Engine, evidence: EvidenceStore, runs: Iterable[str]) -> Iterator[Fault | None]:
    """Verify the evidence of runs, one after the other: every digest of every file is computed.

    Yields:
        For each run, what is wrong, or `None`.
    """
    for run in runs:
        yield _fault(engine, evidence, run)


def _fault(engine: Engine, evidence: EvidenceStore, run: str) -> Fault | None:
    columns = (EVIDENCE.c.manifest_sha256, EVIDENCE.c.removed)
    with engine.connect() as connection:
        row = connection.execute(select(*columns).where(EVIDENCE.c.run == run)).first()
    noted, removed = row or (None, None)
    try:
        with evidence.open(run):
            sha256 = evidence.seal(run).manifest_sha256
    except EvidenceDamagedError as error:
        return Fault(run=run, fault="damaged", message=str(error))
    except EvidenceMissingError as error:
        if removed is not None:
            return None
        return Fault(run=run, fault="missing", message=f"{error}; restore it from a backup")
    return _of_rows(run, noted, removed, sha256)


def _of_rows(run: str, noted: str | None, removed: float | None, sha256: str) -> Fault | None:
    if noted is None:
        return Fault(run=run, fault="no-rows", message=f"no rows of run {run}; `fumehood store rebuild` makes them")
    if removed is not None:
        message = f"the evidence of run {run} is noted as removed; `fumehood store prune` finishes that"
        return Fault(run=run, fault="not-removed", message=message)
    if noted != sha256:
        message = f"the rows of run {run} are of other evidence; `fumehood store rebuild` renews them"
        return Fault(run=run, fault="other", message=message)
    return None
