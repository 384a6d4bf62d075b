"""Where an installer has business: what it does elsewhere, a package has led it to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.events import FileDelete, FileLink, FileMode, FileRead, FileRename, FileWrite

if TYPE_CHECKING:
    from collector.events import AnyEvent

_WRITES: Final = ("/tmp/", "/var/tmp/", "/dev/", "/proc/")  # noqa: S108 - the tracee's, by name
_HOME_WRITES: Final = (".venv/", ".cache/pip/")
_HOME_READS: Final = (*_HOME_WRITES, ".config/pip/", ".pip/", ".netrc", ".local/", ".pydistutils.cfg")


class Places:
    """Where an installer has business, in one home directory."""

    def __init__(self, home: str) -> None:
        """Take the home directory of the run."""
        self._home = f"{home}/"
        self._reads = tuple(f"{home}/{name}" for name in _HOME_READS)
        self._writes = (*_WRITES, *(f"{home}/{name}" for name in _HOME_WRITES))

    def is_misled(self, event: AnyEvent) -> bool:
        """Whether an event of the installer's process is the doing of whose files it handles.

        A symbolic link or a line of `pip.conf` makes pip write a package's content to a place that the package chose,
        or read a secret. pip has no reason of its own to be there.
        """
        if type(event) is FileRead:
            return self.is_foreign(event.path)
        if type(event) is FileRename:
            return not (event.path.startswith(self._writes) and event.old.startswith(self._writes))
        if isinstance(event, FileWrite | FileDelete | FileLink | FileMode):
            return not event.path.startswith(self._writes)
        return False

    def is_foreign(self, path: str) -> bool:
        """Whether an installer has no business to read a file."""
        return path.startswith(self._home) and not path.startswith(self._reads)
