"""What a feed is: pages of packages, each with the place from which the next sweep goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

from sandbox.errors import SandboxError
from sandbox.intake.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

Cursor: TypeAlias = dict[str, Any]
"""Plain JSON, made and understood by one kind of feed; empty before the first sweep."""

_EXAMPLES: Final = 3
"""Entries that a note about bad ones quotes."""


class FeedError(SandboxError):
    """A feed gives nothing that can be used; the sweep stays where it was."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One package that a feed names."""

    purl: str
    """Normalised; without a version when the feed names none."""
    why: str
    """One line for people. May hold strings from outside: escape it when it is shown."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed together: packages, and where to go on after them."""

    entries: tuple[Entry, ...]
    cursor: Cursor
    bad: int = 0
    """Entries that could not be read."""
    notes: tuple[str, ...] = ()
    """What the digest must tell: what was not seen, and why."""


class Feed(Protocol):
    """A source of packages."""

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """Read on from a cursor, until there is nothing more for now.

        Each page is asked for only when the one before is committed: stopping after any page loses nothing, and going
        on from its cursor repeats nothing.

        Args:
            cursor: That of the last page that was committed; empty for the first time.

        Raises:
            FeedError: Nothing usable can be had; the message says what to do.
        """


class Refused:
    """Counts what could not be read, and keeps a few examples."""

    def __init__(self, noun: str = "entries") -> None:
        self._noun = noun
        self._examples: list[str] = []
        self.count = 0

    def add(self, text: str, reason: str) -> None:
        """Note one."""
        self.count += 1
        if len(self._examples) < _EXAMPLES:
            self._examples.append(f"{quoted(text, 60)} ({reason})")

    def notes(self) -> tuple[str, ...]:
        """A sentence about them, when there are any."""
        if not self.count:
            return ()
        return (f"{self.count} {self._noun} could not be read, for example {', '.join(self._examples)}",)
