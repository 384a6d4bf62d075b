"""Counters that survive whatever happens to processes: rows, added to in the transaction that they tell of.

A run is a forked process on one of many hosts, and may be killed; what it counted in its memory, or in files of its
host, would be lost or scattered. Rows are counted with the result or not at all, and every process of the service can
answer for all hosts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from sandbox.database.schema import COUNTERS

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INSERT: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_LABEL: Final = re.compile(r"[A-Za-z0-9_.+ -]{0,64}")


class Tally:
    """What is to be added, by metric and labels."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str], float] = {}

    def add(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add to a metric.

        Args:
            name: Of the metric, without `fumehood_`.
            value: How much.
            labels: One of a few known values each, never a package's words.

        Raises:
            ValueError: A label is not what a label may be.
        """
        for label in labels.values():
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} cannot be a label of {name}")
        key = name, ",".join(f'{label}="{text}"' for label, text in sorted(labels.items()))
        self._counted[key] = self._counted.get(key, 0) + value

    def write(self, connection: Connection) -> None:
        """Add everything to the rows: the last step of the caller's transaction, as all processes share these rows."""
        if not self._counted:
            return
        # Always in the same order, so that two transactions never wait for each other.
        rows = [
            {"name": name, "labels": labels, "value": value} for (name, labels), value in sorted(self._counted.items())
        ]
        made = _INSERT[connection.dialect.name](COUNTERS).values(rows)
        connection.execute(
            made.on_conflict_do_update(
                index_elements=[COUNTERS.c.name, COUNTERS.c.labels],
                set_={"value": COUNTERS.c.value + made.excluded.value},
            )
        )


def read(connection: Connection) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every counter's value, by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for name, labels, value in connection.execute(select(COUNTERS.c.name, COUNTERS.c.labels, COUNTERS.c.value)):
        pairs = (part.partition("=") for part in labels.split(",") if part)
        found.setdefault(name, {})[tuple((key, text.strip('"')) for key, _, text in pairs)] = value
    return found
