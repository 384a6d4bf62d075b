"""One pass over the events of a run, for all parts of a report that are gathered from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, get_args

from collector.events import AnyEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from collector.events import Event


class Reader(Protocol):
    """Gathers something from events."""

    @property
    def kinds(self) -> Collection[type[Event]]:
        """Which it wants to see."""

    def see(self, event: AnyEvent) -> None:
        """Take the next event of these kinds."""


def show(events: Iterable[AnyEvent], readers: Iterable[Reader]) -> dict[str, int]:
    """Show events to readers.

    They are gone through once: those of a long run are packed, and unpacked anew each time.

    Args:
        events: Those of a run, in order of time.
        readers: All that want to see some of them.

    Returns:
        How many events there are of each kind that occurs, in order of name.
    """
    readers = tuple(readers)
    takers: dict[type[Event], tuple[Callable[[AnyEvent], None], ...]] = {
        kind: tuple(reader.see for reader in readers if kind in reader.kinds) for kind in get_args(AnyEvent)
    }
    counts = dict.fromkeys(takers, 0)
    for event in events:
        kind = type(event)
        counts[kind] += 1
        for see in takers[kind]:
            see(event)
    return dict(sorted((str(kind.__struct_config__.tag), count) for kind, count in counts.items() if count))
