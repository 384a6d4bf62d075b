"""What `fumehood events` does: a bundle's events, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click
import msgspec

from collector import baseline, timeline
from collector.bundle import Bundle
from collector.events import AnyEvent
from collector.text import render
from sandbox.errors import UsageError
from sandbox.standard_output import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from collector.events import Event


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are wanted; None for all."""

    phase: str | None
    kind: str | None
    actor: str | None
    usual: bool | None = None
    """True: only those that an empty package has too; False: only the others."""


def list_events(bundle: Path, wanted: EventFilter) -> int:
    """List a bundle's events."""
    opened = Bundle.open(bundle)
    _check_filter(wanted, [phase.name for phase in opened.manifest.phases])
    happened = timeline.build(opened).events
    chosen = [event for event in _by_baseline(opened, happened, wanted.usual) if _wants(wanted, event)]
    if not chosen:
        actors = ", ".join(sorted({event.actor for event in happened})) or "none"
        click.echo(f"no event matches; actors in this bundle: {actors}", err=True)
    write(f"{render(event, source=True)}\n".encode() for event in chosen)
    return 0


def _by_baseline(bundle: Bundle, events: Sequence[AnyEvent], usual: bool | None) -> Iterable[AnyEvent]:
    if usual is None:
        return events
    recorded = baseline.read(bundle)
    if recorded is None:
        raise UsageError("this bundle has no baseline; record one with `fumehood image baseline`, then run again")
    known = baseline.Usual(recorded, bundle.manifest)
    return [event for event in events if known.has(event) is usual]


def _check_filter(wanted: EventFilter, phases: list[str]) -> None:
    """Raise UsageError for a phase or kind that cannot be, which would look like `nothing happened`."""
    if wanted.phase is not None and wanted.phase not in phases:
        raise UsageError(f"there is no phase {wanted.phase!r} in this bundle; it has {', '.join(phases)}")
    kinds = sorted(_kind(event) for event in get_args(AnyEvent))
    if wanted.kind is not None and not any(_is_kind(kind, wanted.kind) for kind in kinds):
        raise UsageError(f"there is no kind {wanted.kind!r}; there are {', '.join(kinds)}")


def _wants(wanted: EventFilter, event: Event) -> bool:
    return (
        wanted.phase in {None, event.phase}
        and wanted.actor in {None, event.actor}
        and (wanted.kind is None or _is_kind(_kind(type(event)), wanted.kind))
    )


def _kind(event: type[Event]) -> str:
    return str(event.__struct_config__.tag)


def _is_kind(kind: str, wanted: str) -> bool:
    return f"{kind}.".startswith(f"{wanted}.")
