"""What was left of a run, as a report shows it: bounded, and what carries bait first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.events import Source
from collector.redact import excerpt

if TYPE_CHECKING:
    from collector.dropped import Drops
    from collector.redact import Redactor

_ROWS: Final = 500


class DroppedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was there when the run ended: a `file.dropped` event."""

    phase: str
    actor: str
    pid: int
    """The process that wrote it last; 0 when unknown."""
    path: str
    type: str
    """What it is, by content; see `collector.events.FileDropped`."""
    size: int
    sha256: str
    mode: str
    target: str
    planted: bool
    bait: tuple[str, ...]
    source: Source | None


class DroppedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the package left on the file system."""

    files: tuple[DroppedFile, ...]
    """In order of path."""
    omitted: int
    """Files that are not listed because there were too many."""
    gone: tuple[str, ...]
    """Planted files that were removed."""


def dropped_report(drops: Drops, redactor: Redactor) -> DroppedReport:
    """Make the rows of a report.

    Args:
        drops: What was left.
        redactor: For names that hold bait.
    """
    # What carries bait, then what can run, shall not be pushed out by many harmless files.
    chosen = sorted(drops.events, key=lambda event: (not event.bait, event.type in {"text", "data", "empty"}))[:_ROWS]
    return DroppedReport(
        files=tuple(
            DroppedFile(
                phase=event.phase,
                actor=event.actor,
                pid=event.pid,
                path=excerpt(redactor.text(event.path)),
                type=event.type,
                size=event.size,
                sha256=event.sha256,
                mode=event.mode,
                target=excerpt(redactor.text(event.target)),
                planted=event.planted,
                bait=event.bait,
                source=event.source,
            )
            for event in sorted(chosen, key=lambda event: event.path)
        ),
        omitted=len(drops.events) - len(chosen),
        gone=tuple(excerpt(redactor.text(path)) for path in drops.gone[:_ROWS]),
    )
