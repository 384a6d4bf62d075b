"""Readings of files that are told in brief: nearly all lead to nothing, and are told from the others at once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from collector.brief import Brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from collector.brief import Reading, Setting, Told
    from collector.events import AnyEvent

_REMEMBERED: Final = 1 << 14
"""Readings of which is known whether they lead to anything, of all actors and settings together: a package has as many
settings as phases and errors, and its paths are long where it likes."""
_UNKNOWN: Final[Mapping[Reading, bool]] = {}


class Readings:
    """What is known of the readings of one run."""

    def __init__(self, leads: Callable[[AnyEvent], bool | None]) -> None:
        """Begin.

        Args:
            leads: Whether events that differ from one in moment, process and line can match anything; None when none
                of their setting can.
        """
        self._ask = leads
        self._leads: defaultdict[str, dict[Setting, dict[Reading, bool] | None]] = defaultdict(dict)
        """By actor and setting; None where nothing can match."""
        self._room = _REMEMBERED

    def worth_it(self, events: Iterable[Told]) -> Iterator[tuple[int, AnyEvent]]:
        """Yield the events that can match something, each with its place."""
        leads = self._leads
        for place, told in enumerate(events):
            if type(told) is not Brief:
                yield place, told
                continue
            known = leads[told.actor].get(told.what.setting, _UNKNOWN)
            if known is None:
                continue
            lead = known.get(told.what)
            if self._meet(told) if lead is None else lead:
                yield place, told.event()

    def _meet(self, brief: Brief) -> bool:
        """Take the first of readings that differ in moment, process and line."""
        lead = self._ask(brief.event())
        if not self._room:
            self._leads.clear()
            self._room = _REMEMBERED
        self._room -= 1
        of_actor, setting = self._leads[brief.actor], brief.what.setting
        if lead is None:
            of_actor[setting] = None
            return False
        known = of_actor.get(setting)
        if known is None:
            known = of_actor[setting] = {}
        known[brief.what] = lead
        return lead
