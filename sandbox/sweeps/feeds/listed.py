"""A file of names and purls."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from sandbox.sweeps.feeds.feed import Entry, Page, Refused
from sandbox.sweeps.feeds.files import read_lines
from sandbox.sweeps.feeds.names import read_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.sweeps.feeds.feed import Cursor

_PAGE: Final = 200


class ListedFeed:
    """Every package of a file, each sweep from its beginning.

    What was run already is not run again: a sweep submits releases, and an identical submission is answered by the
    earlier one.

    Args:
        path: UTF-8 text: a purl, a name, `name==version` or `name@version` a line; `#` begins a comment.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """See `Feed`; an interrupted sweep goes on at its line, unless the file has changed since."""
        lines = read_lines(self._path)
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        start = cursor.get("line", 0) if cursor.get("sha256") == digest else 0
        for first in range(start, len(lines), _PAGE):
            last = min(first + _PAGE, len(lines))
            entries, refused = self._read(lines, first, last)
            after: Cursor = {"sha256": digest, "line": last} if last < len(lines) else {}
            yield Page(entries=entries, cursor=after, bad=refused.count, notes=refused.notes())

    def _read(self, lines: list[str], first: int, last: int) -> tuple[tuple[Entry, ...], Refused]:
        refused = Refused(f"lines of {self._path.name}")
        entries = []
        for number in range(first, last):
            if not lines[number]:
                continue
            try:
                purl = read_package(lines[number])
            except ValueError as error:
                refused.add(lines[number], f"line {number + 1}: {error}")
            else:
                entries.append(Entry(purl=purl, why=f"line {number + 1} of {self._path.name}"))
        return tuple(entries), refused
