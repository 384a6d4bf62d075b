"""Renders what a package looked for and did not find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collector.hints import Hint, Hints
    from sandbox.terminal.page import Page

_SHOWN: Final = 10
"""Hints of a kind that are shown; the JSON report has more."""
_KINDS: Final = {
    "missing-program": "programs that it wanted and did not find",
    "missing-file": "files that it looked for and did not find",
    "early-exit": "ended right after it had looked for signs of a sandbox; the last it looked at",
}


def render_hints(page: Page, hints: Hints) -> None:
    """Write the hints for the next run, and nothing when there are none."""
    if not hints.items:
        return
    page.heading("Hints for the next run")
    for kind, words in _KINDS.items():
        found = [hint for hint in hints.items if hint.kind == kind]
        if not found:
            continue
        page.line(page.text(f"{words}:"), 1)
        for hint in found[:_SHOWN]:
            source = f"  # {hint.source.file}:{hint.source.line}" if hint.source else ""
            page.line(page.text(f"{hint.what}  ({_where(hint)})", (source, "dim")), 2)
        if found[_SHOWN:]:
            page.line(page.text((f"and {len(found) - _SHOWN} more", "dim")), 2)
    if hints.omitted:
        page.line(page.text((f"{hints.omitted:,} more are not listed", "dim")), 1)
    missing = [hint for hint in hints.items if hint.kind != "early-exit"]
    if missing and not any(hint.profile for hint in missing):
        page.line(page.text(("no shipped profile has what was missing", "dim")), 1)


def _where(hint: Hint) -> str:
    times = f", {hint.count} times" if hint.count > 1 else ""
    profile = f"; profile {hint.profile} has it" if hint.profile else ""
    return f"{hint.phase} by {hint.actor}{times}{profile}"
