"""What people say of runs. Labels are in no bundle: only the database keeps them, its backups, and exports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from sqlalchemy import delete, insert, select, update

from collector.errors import SearchError
from collector.store.schema import LABELS, RUNS, TERMS
from collector.store.stored import NAME, TEXT, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class RunLabel(Label, frozen=True, kw_only=True):
    """A label together with the run that it is of: a line of an export."""

    run: Annotated[str, msgspec.Meta(pattern="^[0-9a-z]{8,32}$")]


def put_label(connection: Connection, run: str, label: Label) -> bool:
    """Label a run, or change the note of a label that it has; within the caller's transaction.

    Returns:
        Whether there is such a run.

    Raises:
        SearchError: A label is of other characters than these.
    """
    check_label(label.label)
    run = stored(run)
    created = _created(connection, run)
    if created is None:
        return False
    _put(connection, run, label, created)
    return True


def restore_label(connection: Connection, given: RunLabel) -> bool:
    """Put a label of an export back, within the caller's transaction, unless the run has it as new or newer already.

    The run need not be there: its label waits until its rows are made again from the evidence.

    Returns:
        Whether the label was put.

    Raises:
        SearchError: A label is of other characters than these.
    """
    check_label(given.label)
    there = select(LABELS.c.created).where(LABELS.c.run == given.run, LABELS.c.label == given.label)
    said = connection.execute(there).scalar_one_or_none()
    if said is not None and said >= given.created:
        return False
    _put(connection, given.run, given, _created(connection, given.run))
    return True


def every_label(connection: Connection) -> Iterator[RunLabel]:
    """All labels of all runs, in order of run and label."""
    table = LABELS.c
    rows = connection.execute(
        select(table.run, table.label, table.note, table.author, table.created).order_by(table.run, table.label)
    )
    for run, label, note, author, created in rows:
        yield RunLabel(run=run, label=label, note=note, author=author, created=created)


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


def check_label(label: str) -> None:
    """Refuse what cannot be a label.

    Raises:
        SearchError: It is of other characters, or too long.
    """
    if not _LABEL.fullmatch(label):
        raise SearchError(
            f"{label[:70]!a} cannot be a label; write up to 64 small letters, digits, dots and dashes, "
            f"for example {KNOWN_GOOD}"
        )


def _created(connection: Connection, run: str) -> float | None:
    """When a run began; `None` when there are no rows of it."""
    return connection.execute(select(RUNS.c.created).where(RUNS.c.run == run)).scalar_one_or_none()


def _put(connection: Connection, run: str, label: Label, created: float | None) -> None:
    this = (LABELS.c.run == run, LABELS.c.label == label.label)
    said = {"note": stored(label.note, TEXT), "author": stored(label.author, NAME), "created": label.created}
    if connection.execute(update(LABELS).where(*this).values(said)).rowcount:
        return
    connection.execute(insert(LABELS), {"run": run, "label": label.label, **said})
    if created is not None:
        term = {"kind": "label", "value": label.label, "created": created, "run": run}
        connection.execute(insert(TERMS), term)
