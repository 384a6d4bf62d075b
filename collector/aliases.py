"""Files of the home directory, followed through the names that the package gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from collector.allowance import Allowance
from collector.events import FileLink, FileRename

if TYPE_CHECKING:
    from collector.events import AnyEvent, Source

_OWN: Final = (".venv/", ".cache/")
"""Below the home directory, but never planted: installers rename there all the time."""
_CHAIN: Final = 256
"""Directories moved into one another that are followed."""


class _Alias(NamedTuple):
    """What a name stands for."""

    true: str
    """The first name, as far as known when the alias was made."""
    made: int
    """Number of the renaming; of those that were made later, an older alias knows nothing."""


class TrueNames:
    """Which old names stand behind new ones."""

    def __init__(self, home: str, allowance: Allowance | None = None) -> None:
        """Begin.

        Args:
            home: The home directory of the run; only files below it are followed.
            allowance: How many of these.
        """
        self._allowance = allowance or Allowance()
        self._home = f"{home}/"
        self._own = tuple(f"{home}/{name}" for name in _OWN)
        self.aliases: dict[str, _Alias] = {}
        """What each new name stands for."""
        self._count = 0
        self._last: tuple[Source | None, str, str, str] = (None, "", "", "")
        """Of the last one: its line, the old and the new name, and what stood at the new name before."""

    def note(self, event: AnyEvent) -> None:
        """Take account of the next event in order of time, which may be a renaming or a linking that worked."""
        if not (type(event) is FileRename or (type(event) is FileLink and not event.symbolic)) or event.errno:
            return
        old, new = (event.old, event.path) if isinstance(event, FileRename) else (event.target, event.path)
        last, self._last = self._last, (event.source, old, new, self.true(new) or new)
        true = self.true(old) or old
        if last[:3] == (event.source, new, old):
            true = last[3]  # the second half of an exchange: what stood here before its first half
        else:
            self._count += 1
            if isinstance(event, FileRename):
                self._pop(old)
        self._pop(new)
        if true != new and self._is_followed(true) and self._allowance.takes("renamed files"):
            self.aliases[new] = _Alias(true, self._count)

    def _pop(self, path: str) -> None:
        if self.aliases.pop(path, None) is not None:
            self._allowance.release("renamed files")

    def _is_followed(self, path: str) -> bool:
        return path.startswith(self._home) and not path.startswith(self._own)

    def true(self, path: str) -> str | None:
        """The name that a file had when the run began; None when it is the same."""
        found, fixed, made = path, 0, self._count + 1
        for _ in range(_CHAIN if self.aliases else 0):
            step = self._step(found, fixed, made)
            if step is None:
                break
            found, fixed, made = step
        return found if found != path and self._is_followed(found) else None

    def _step(self, path: str, fixed: int, before: int) -> tuple[str, int, int] | None:
        """Replace the longest name that stands for another; what it stands for (`fixed` characters) is final.

        Only names below that can stand for something else still: those that moved before their directory did.
        """
        end = len(path)
        while end > fixed:
            alias = self.aliases.get(path[:end])
            if alias is not None and alias.made < before:
                return alias.true + path[end:], len(alias.true), alias.made
            end = path.rfind("/", 0, end)
        return None
