"""What a package left on the file system as rows: what it is, where it lies, and what it carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

    from collector.dropped_report import DroppedFile, DroppedReport
    from sandbox.terminal.page import Page

_MOST: Final = 40
"""Rows shown; the JSON report has more."""
_DIGEST: Final = 12
"""Characters of a digest shown."""


def render_dropped(page: Page, dropped: DroppedReport | None, *, home: str) -> None:
    """Write what was left; nothing when there is nothing to say.

    Args:
        page: Where to.
        dropped: Of the report; None when nobody looked.
        home: The tracee's home directory, shown as `~`.
    """
    if dropped is None or not (dropped.files or dropped.gone):
        return
    page.heading("Left behind")
    files = sorted(dropped.files, key=lambda file: not file.bait)
    page.rows([_row(page, file, home) for file in files[:_MOST]])
    left = dropped.omitted + len(files[_MOST:])
    if left:
        page.line(page.text((f"and {left:,} more", "dim")), 1)
    for path in dropped.gone[:_MOST]:
        page.line(page.text(("removed  ", "bold"), _short(path, home)), 1)


def _row(page: Page, file: DroppedFile, home: str) -> list[Text]:
    parts: list[str | tuple[str, str]] = [_short(file.path, home)]
    if file.target:
        parts.append(f" -> {_short(file.target, home)}")
    if file.planted:
        parts.append(("  changed", "cyan"))
    if file.bait:
        parts.append((f"  bait: {', '.join(file.bait)}", "bold red"))
    if file.mode:
        parts.append((f"  {file.size:,} bytes  {file.mode}  sha256 {file.sha256[:_DIGEST] or 'unknown'}", "dim"))
    return [page.text((file.type, "bold")), page.text(file.phase), page.text(file.actor), page.text(*parts)]


def _short(path: str, home: str) -> str:
    return f"~{path.removeprefix(home)}" if home and path.startswith(f"{home}/") else path
