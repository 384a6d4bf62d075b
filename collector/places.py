"""Where an installer has business: what it does elsewhere, a package has led it to."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from collector.events import FileDelete, FileLink, FileMode, FileRead, FileRename, FileWrite

if TYPE_CHECKING:
    from collector.events import AnyEvent

_WRITES: Final = ("/tmp/", "/var/tmp/", "/dev/", "/proc/")  # noqa: S108 - the tracee's, by name
_HOME_WRITES: Final = (".venv/", ".cache/pip/")
_HOME_READS: Final = (*_HOME_WRITES, ".config/pip/", ".pip/", ".netrc", ".local/", ".pydistutils.cfg")


def is_misled(event: AnyEvent, home: str) -> bool:
    """Whether an event of the installer's process is the doing of whose files it handles.

    A symbolic link or a line of `pip.conf` makes pip write a package's content to a place that the package chose, or
    read a secret. pip has no reason of its own to be there.

    Args:
        event: An event of the installer's process.
        home: Home directory of the run.
    """
    if type(event) is FileRead:
        return event.path.startswith(f"{home}/") and not event.path.startswith(_below(home, _HOME_READS))
    if type(event) is FileRename:
        return not (event.path.startswith(_writable(home)) and event.old.startswith(_writable(home)))
    return isinstance(event, FileWrite | FileDelete | FileLink | FileMode) and not event.path.startswith(
        _writable(home)
    )


@lru_cache(8)
def _writable(home: str) -> tuple[str, ...]:
    return (*_WRITES, *_below(home, _HOME_WRITES))


@lru_cache(8)
def _below(home: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{home}/{name}" for name in names)
