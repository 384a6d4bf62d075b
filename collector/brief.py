"""Readings of files in brief: three lines of a trace in four say one, and nearly all of these lead to nothing.

A program opens the same files again and again, each time at another moment. What such lines share is read, attributed
and met with the rules once; what is theirs alone are a few numbers, of which an event is made where somebody asks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias, final

import msgspec

from collector.events import AnyEvent, FileRead, Source


class Setting(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Where and with what outcome files were read. Compared and hashed by identity; `setting_of` makes them."""

    phase: str
    file: str
    """The trace in the bundle."""
    errno: str


@lru_cache(1 << 10)
def setting_of(phase: str, file: str, errno: str) -> Setting:
    """Give the setting of this phase, trace and error: the same one each time, as what is known is kept by setting."""
    return Setting(phase, file, errno)


class Reading(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What readings of a file have in common. Compared and hashed by identity: there is one for many of them."""

    path: str
    setting: Setting


@final
class Brief(msgspec.Struct, frozen=True, gc=False):
    """One reading of a file."""

    ts: float
    """Seconds since the epoch."""
    pid: int
    line: int
    """Of the trace."""
    what: Reading
    actor: str = "target"
    """As of events."""

    def event(self) -> FileRead:
        """The event that it stands for."""
        what, setting = self.what, self.what.setting
        return FileRead(
            ts=self.ts,
            phase=setting.phase,
            actor=self.actor,
            pid=self.pid,
            source=Source(setting.file, self.line),
            errno=setting.errno,
            path=what.path,
        )


Told: TypeAlias = AnyEvent | Brief
"""An event, perhaps in brief."""


def whole(told: Told) -> AnyEvent:
    """Give the event itself."""
    return told.event() if type(told) is Brief else told
