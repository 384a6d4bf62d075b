"""How much of a run is followed, whatever the package does, and what it had more of.

Memory must not grow with a trace, and a package can make any number of anything. What is not followed any more still
has its events; lost is how later events hang together with it. A run that lost something says so.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Sort: TypeAlias = Literal[
    "processes", "programs", "written files", "programs' files", "renamed files", "connections", "packets", "sockets"
]
"""What is counted."""

MOST: Final[Mapping[Sort, int]] = {
    "processes": 1 << 15,
    "programs": 1 << 16,
    "written files": 1 << 16,
    "programs' files": 1 << 16,
    "renamed files": 1 << 15,
    "connections": 1 << 15,
    "packets": 1 << 15,
    "sockets": 1 << 15,
}
"""How many of each sort are followed at one time."""
_WORDS: Final[Mapping[Sort, str]] = {
    "processes": "processes than have a place in the tree",
    "programs": "executed programs than are remembered",
    "written files": "written files than are remembered",
    "programs' files": "files written by the package than are remembered",
    "renamed files": "renamed files than are followed",
    "connections": "connections than are joined with the network record",
    "packets": "packets than are joined with the network record",
    "sockets": "sockets than are remembered",
}


class Allowance:
    """Counts what is followed, and what is not because there is too much of it."""

    def __init__(self, most: Mapping[Sort, int] = MOST) -> None:
        """Begin.

        Args:
            most: How many of each sort are followed.
        """
        self._most = most
        self._followed: Counter[Sort] = Counter()
        self._lost: Counter[Sort] = Counter()

    def takes(self, sort: Sort, *, room: bool = True) -> bool:
        """Whether another one is followed; if not, it is counted as lost.

        Args:
            sort: What it is.
            room: Whether there is memory for it, however few there are.
        """
        if self._followed[sort] >= self._most[sort] or not room:
            self._lost[sort] += 1
            return False
        self._followed[sort] += 1
        return True

    def release(self, sort: Sort) -> None:
        """One that was followed need not be any more."""
        self._followed[sort] -= 1

    def exceeded(self) -> tuple[str, ...]:
        """A sentence for each sort of which there was too much."""
        return tuple(
            f"the run had more {words} ({self._most[sort]:,}): {self._lost[sort]:,} are not followed"
            for sort, words in _WORDS.items()
            if self._lost[sort]
        )
