"""Whose child a process is, when its fork was never seen to return: the parent was killed in the call.

The kernel gives out numbers of processes in ascending order. So a fork is none of a process whose number is lower than
the forking thread's own, and none of one whose number is higher than that of a process begun after the thread's end.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collector.live_processes import LiveProcess
    from collector.strace import Call

_MOST_FORKS: Final = 1 << 12
"""Forks without a known child. Beyond so many it could not be told anyway whose child a process is."""
_MOST_BIRTHS: Final = 1 << 17
_FORK_TAKES: Final = 30.0
"""Seconds after which no child of a fork is seen for the first time, however busy the machine."""


class Fork(NamedTuple):
    """A call that may have made a process of unknown number."""

    process: LiveProcess
    call: Call
    flags: bytes


class Parentage:
    """What a trace tells of forks that did not return, and of when numbers were given out."""

    def __init__(self) -> None:
        self._forks: list[Fork] = []
        """In order of time."""
        self._ends: dict[int, float] = {}
        """When threads ended, for those that are in such a fork."""
        self._births: list[tuple[int, float]] = []
        """Numbers, and a moment before which they were not given out."""
        self._latest: list[float] = []
        """For each birth, in order of number, the latest moment of all up to it."""
        self._complete = False

    def forked(self, process: LiveProcess, call: Call, flags: bytes) -> bool:
        """Keep a fork whose child is unknown; whether there is room."""
        if len(self._forks) >= _MOST_FORKS:
            return False
        insort(self._forks, Fork(process, call, flags), key=_when)
        self._ends[call.pid] = math.inf
        return True

    def born(self, number: int, call: Call) -> None:
        """A fork returned this number."""
        if len(self._births) < _MOST_BIRTHS and not self._complete:
            self._births.append((number, call.ts))

    def ended(self, thread: int, ts: float) -> None:
        """A thread ended."""
        if thread in self._ends:
            self._ends[thread] = ts

    def complete(self) -> None:
        """The trace was read to its end."""
        self._complete = True
        self._births.sort()
        self._latest = list(accumulate((ts for _, ts in self._births), max))

    def fork_of(self, number: int, began: float) -> Fork | None:
        """The only fork that can have made a process, after `complete`; it has no other child then.

        Args:
            number: Of the process or thread.
            began: When it was first seen.

        Returns:
            Of several forks alike, of threads of one process, the first; None when there is none, or it cannot be told.
        """
        before = bisect_left(self._births, (number, -math.inf))
        given = self._latest[before - 1] if before else -math.inf
        first = bisect_left(self._forks, began - _FORK_TAKES, key=_when)
        recent = self._forks[first : bisect_right(self._forks, began, key=_when)]
        possible = [fork for fork in recent if fork.call.pid < number and self._ends[fork.call.pid] >= given]
        if len({(id(fork.process), fork.flags) for fork in possible}) != 1:
            return None
        self._forks.remove(possible[0])
        return possible[0]


def _when(fork: Fork) -> float:
    return fork.call.ts
