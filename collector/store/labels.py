"""What people say of runs. Labels are in no bundle: they are kept by the database alone, and with its backups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import delete, insert, select, update

from collector.errors import SearchError
from collector.store.schema import LABELS, RUNS, TERMS
from collector.store.stored import NAME, TEXT, stored

if TYPE_CHECKING:
    from sqlalchemy import Connection

KNOWN_GOOD: Final = "known-good"
"""The label of runs by which a finding's rarity is measured."""
_LABEL: Final = re.compile("[a-z0-9][a-z0-9._-]{0,63}")


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One label of a run."""

    label: str
    note: str
    author: str
    created: float
    """When it was given, or its note changed last."""


def put_label(connection: Connection, run: str, label: Label) -> bool:
    """Label a run, or change the note of a label that it has; within the caller's transaction.

    Returns:
        Whether there is such a run.

    Raises:
        SearchError: A label is of other characters than these.
    """
    if not _LABEL.fullmatch(label.label):
        raise SearchError(
            f"{label.label[:70]!a} cannot be a label; write up to 64 small letters, digits, dots and dashes, "
            f"for example {KNOWN_GOOD}"
        )
    run = stored(run)
    created = connection.execute(select(RUNS.c.created).where(RUNS.c.run == run)).scalar_one_or_none()
    if created is None:
        return False
    this = (LABELS.c.run == run, LABELS.c.label == label.label)
    said = {"note": stored(label.note, TEXT), "author": stored(label.author, NAME), "created": label.created}
    if not connection.execute(update(LABELS).where(*this).values(said)).rowcount:
        connection.execute(insert(LABELS), {"run": run, "label": label.label, **said})
        term = {"kind": "label", "value": label.label, "created": created, "run": run}
        connection.execute(insert(TERMS), term)
    return True


def remove_label(connection: Connection, run: str, label: str) -> bool:
    """Take a label from a run, within the caller's transaction; whether it had it."""
    run, label = stored(run), stored(label)
    connection.execute(delete(TERMS).where(TERMS.c.kind == "label", TERMS.c.value == label, TERMS.c.run == run))
    return bool(connection.execute(delete(LABELS).where(LABELS.c.run == run, LABELS.c.label == label)).rowcount)


def labels_of(connection: Connection, runs: list[str]) -> dict[str, tuple[Label, ...]]:
    """The labels of several runs, in order of name; runs without any are left out."""
    table = LABELS.c
    rows = connection.execute(
        select(table.run, table.label, table.note, table.author, table.created)
        .where(table.run.in_(runs))
        .order_by(table.run, table.label)
    )
    found: dict[str, tuple[Label, ...]] = {}
    for run, label, note, author, created in rows:
        found[run] = (*found.get(run, ()), Label(label=label, note=note, author=author, created=created))
    return found
