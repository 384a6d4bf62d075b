"""One pass over the events of a run, for all parts of a report that are gathered from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, get_args, runtime_checkable

from collector.brief import Brief
from collector.eventlog import briefly
from collector.events import AnyEvent, FileRead

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from collector.brief import Reading
    from collector.events import Event

_REMEMBERED: Final = 1 << 14
"""Readings of files of which is known who wants to see them, of all actors together."""


class Reader(Protocol):
    """Gathers something from events."""

    @property
    def kinds(self) -> Collection[type[Event]]:
        """Which it wants to see."""

    def see(self, event: AnyEvent) -> None:
        """Take the next event of these kinds."""


_NOBODY: Final[Mapping[Reading, tuple[Seeing, ...]]] = {}
Seeing: TypeAlias = "Callable[[Brief], None]"


@runtime_checkable
class FileReader(Reader, Protocol):
    """Gathers something from events among which are readings of files."""

    def heeds(self, actor: str) -> bool:
        """Say whether readings of files by an actor make any difference."""

    def reading(self, first: Brief) -> Seeing | None:
        """Say what is to be done with readings that differ from this one in moment, process and line at most.

        Returns:
            What takes them, this one too; None when they make no difference.
        """


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
    files = _Files(reader for reader in readers if isinstance(reader, FileReader))
    for event in briefly(events):
        if type(event) is Brief:
            counts[FileRead] += 1
            known = files.known.get(event.actor, _NOBODY)
            if known is not None:
                wanted = known.get(event.what)
                for take in files.meet(event) if wanted is None else wanted:
                    take(event)
            continue
        kind = type(event)
        counts[kind] += 1
        for see in takers[kind]:
            see(event)
    return dict(sorted((str(kind.__struct_config__.tag), count) for kind, count in counts.items() if count))


class _Files:
    """Who wants to see which readings of files."""

    def __init__(self, readers: Iterable[FileReader]) -> None:
        self.known: dict[str, dict[Reading, tuple[Seeing, ...]] | None] = {}
        """By actor and what is read; None where nobody does."""
        self._readers = tuple(readers)
        self._room = _REMEMBERED

    def meet(self, brief: Brief) -> tuple[Seeing, ...]:
        """Take the first reading of its sort."""
        if not self._room:
            self.known.clear()
            self._room = _REMEMBERED
        self._room -= 1
        readers = [reader for reader in self._readers if reader.heeds(brief.actor)]
        if not readers:
            self.known[brief.actor] = None
            return ()
        known = self.known.get(brief.actor)
        if known is None:
            known = self.known[brief.actor] = {}
        wanted = (reader.reading(brief) for reader in readers)
        known[brief.what] = seeing = tuple(see for see in wanted if see is not None)
        return seeing
