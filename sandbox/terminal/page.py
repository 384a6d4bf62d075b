"""Lines, rows and headings on a console: every string made harmless, no wrapping where nobody reads by eye."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_INDENT: Final = 2
_NARROWEST: Final = 24
"""Columns that the last cell of a row needs for being folded in its own column."""


def harmless(text: str, *, ascii_only: bool = False) -> str:
    r"""Return `text` so that a terminal shows it and obeys nothing in it.

    Control characters, direction marks, invisible, combining and unassigned characters become `\x1b`, `\u202e`, ...

    Args:
        text: Anything, also from a package.
        ascii_only: Escape all characters outside ASCII, for an output that cannot encode them.
    """
    shown = "".join(char if _plain(char) else _escaped(char) for char in text)
    return shown.encode("ascii", "backslashreplace").decode() if ascii_only else shown


def _plain(char: str) -> bool:
    # A combining mark joins the character before it, and a pile of them paints over neighbouring lines.
    return " " <= char <= "~" or (char.isprintable() and not unicodedata.category(char).startswith("M"))


def _escaped(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or char.encode("unicode_escape").decode()


class Page:
    """Writes to one console. On a terminal long lines are folded below themselves; elsewhere they stay whole."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._fold = console.is_terminal
        self.ascii_only = console.options.ascii_only

    def text(self, *parts: str | tuple[str, str]) -> Text:
        """Join strings and (string, style) pairs; this is the only way in, so every string passes `harmless`."""
        line = Text()
        for part in parts:
            words, style = (part, "") if isinstance(part, str) else part
            line.append(harmless(words, ascii_only=self.ascii_only), style=style or None)
        return line

    def blank(self) -> None:
        """Write an empty line."""
        self._console.print()

    def heading(self, words: str) -> None:
        """Begin a section."""
        self.blank()
        self.line(self.text((words, "bold")))

    def line(self, line: Text, indent: int = 0) -> None:
        """Write one line, `indent` steps from the edge."""
        if self._fold:
            self._folded(line, indent)
        else:
            self.whole(line, indent)

    def whole(self, line: Text, indent: int = 0) -> None:
        """Write one line that is never folded, because somebody will copy it."""
        self._whole(Text(" " * (indent * _INDENT)) + line)

    def rows(self, rows: Sequence[Sequence[Text]], indent: int = 1, gap: int = 2) -> None:
        """Write rows of equally many cells under each other; the last cell is as long as it needs to be."""
        if not rows:
            return
        widths = [max(row[column].cell_len for row in rows) for column in range(len(rows[0]) - 1)]
        left = self._console.width - indent * _INDENT - sum(widths) - gap * len(widths)
        if self._fold and left >= _NARROWEST:
            table = Table.grid(padding=(0, gap, 0, 0))
            for _ in widths:
                table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            for row in rows:
                table.add_row(*row)
            self._folded(table, indent)
            return
        for row in rows:
            cells = [cell + Text(" " * (width - cell.cell_len + gap)) for cell, width in zip(row, widths, strict=False)]
            self.line(Text("").join([*cells, row[-1]]), indent)

    def _folded(self, content: Text | Table, indent: int) -> None:
        padded = Padding(content, (0, 0, 0, indent * _INDENT), expand=False)
        self._console.print(padded, overflow="fold", highlight=False)

    def _whole(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True, highlight=False)
