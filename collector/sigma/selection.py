"""What a rule over single events looks for, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from collector.sigma.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.events import Event
    from collector.sigma.needs import Needs
    from collector.sigma.view import View
    from collector.sigma.written import Written

Predicate: TypeAlias = "Callable[[View], bool]"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a rule over single events looks for."""

    kinds: frozenset[type[Event]]
    """Classes of the events it can match."""
    predicate: Predicate
    """Whether it matches; asks for no field that is not in `trees`, but for phase, actor and errno."""
    trees: tuple[object, ...] | None = None
    """The condition trees of which one must hold; None when the predicate is all that is known."""
    written: Written | None = None
    """What it was compiled from; None in what no file holds."""

    @property
    def needs(self) -> Needs:
        """What an event must have to be worth a try, whatever its kind."""
        return None if self.trees is None else needs_of(self.trees)
