"""Whose a file is: what pip unpacked for each dependency, until somebody else lays hands on it.

pip installs one distribution after the other, and ends each by putting its `RECORD` in place; what it wrote in the
environment until then belongs to that distribution. Only the name of the directory that pip itself chose counts: a
wheel may bring other directories that look like it. A file that nobody wrote was there before the run.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

import msgspec

from collector.events import FileDelete, FileLink, FileRename, FileWrite
from collector.standing import DEPENDENCY, TARGET, UNKNOWN_DEPENDENCY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.events import AnyEvent

_MOST: Final = 1 << 16
"""Paths that are remembered."""
_DONE: Final = frozenset({"", "UNFINISHED"})
"""Errors of a call that worked, or may have."""
_RECORD: Final = re.compile(r"([A-Za-z0-9._]+)-[^/-]+\.dist-info/RECORD\Z")


class _Owned(msgspec.Struct, frozen=True, gc=False):
    owner: str
    since: int
    """Number of the change."""


class Ownership:
    """The owners of the files of a run, as they follow from its events. In doubt it is the target."""

    def __init__(self, site_packages: str) -> None:
        """Take the directory in which pip installs."""
        self._site_packages = f"{site_packages}/"
        self._environment = f"{posixpath.normpath(posixpath.join(site_packages, '../../..'))}/"
        self._files: dict[str, _Owned] = {}
        self._named: dict[str, _Owned] = {}
        """Paths that were renamed or linked to: all that lies below may have come with them."""
        self._unpacked: set[str] = set()
        """What pip wrote for the distribution that it is installing."""
        self._changes = 0
        self._linked = False
        """There are symbolic links of which names of renamed files do not tell."""
        self._lost = False
        """It cannot be told any more what lies where."""

    def owner(self, path: str) -> str:
        """Whose file it is: a dependency's (`dependency:NAME`), the target's, or nobody's (empty)."""
        if self._lost:
            return TARGET
        owned = self._files.get(path)
        for above in _above(path) if self._named else ():
            named = self._named.get(above)
            if named is not None and (owned is None or owned.since < named.since):
                owned = named
        return "" if owned is None else owned.owner

    def changed(self, event: AnyEvent, by: str) -> None:
        """Take account of the next event in order of time, whatever it is.

        Args:
            event: The event, by anyone but the pip that installs the dependencies.
            by: For whom it was done: `target`, or a dependency.
        """
        if self._lost:
            return
        if type(event) is FileWrite:
            if event.errno in _DONE:
                self._take(event.path, by)
        elif type(event) is FileRename or type(event) is FileLink:
            if event.errno in _DONE:
                self._name(event, by)
        elif type(event) is FileDelete and not event.errno:
            self._files.pop(event.path, None)

    def unpacked(self, event: AnyEvent) -> None:
        """The same for an act of that pip."""
        if not isinstance(event, FileWrite | FileRename) or event.errno:
            self.changed(event, UNKNOWN_DEPENDENCY)
            return
        self._take(event.path, UNKNOWN_DEPENDENCY)
        if self._lost:
            return
        if event.path.startswith(self._environment):
            self._unpacked.add(event.path)
        if isinstance(event, FileRename):
            self._files.pop(event.old, None)
            self._recorded(event)

    def _take(self, path: str, by: str) -> None:
        self._changes += 1
        if (len(self._files) >= _MOST and path not in self._files) or not path.startswith("/"):
            self._lose()
        elif not self._lost:
            self._files[path] = _Owned(by, self._changes)

    def _lose(self) -> None:
        self._lost = True
        for known in (self._files, self._named, self._unpacked):
            known.clear()

    def _name(self, event: FileRename | FileLink, by: str) -> None:
        symbolic = isinstance(event, FileLink) and event.symbolic
        # An opened file bears its true name. Here stands what the call was given, which may lead through a link.
        if not symbolic and (self._linked or event.path.startswith(("/proc/", f"{self._environment}lib64/"))):
            self._lose()
        self._linked = self._linked or symbolic
        self._take(event.path, by)
        if len(self._named) >= _MOST:
            self._lose()
        elif not self._lost:
            self._named[event.path] = _Owned(by, self._changes)
        if isinstance(event, FileRename):
            self._files.pop(event.old, None)
        elif not symbolic:
            # From now on the file can be written to under its other name.
            self._take(event.target, by)

    def _recorded(self, event: FileRename) -> None:
        """Name the owner of what was unpacked, once pip puts the RECORD in its place."""
        if not event.path.startswith(self._site_packages) or not event.old.startswith(event.path):
            return
        record = _RECORD.match(event.path[len(self._site_packages) :])
        if record is None:
            return
        name = DEPENDENCY + re.sub(r"[-_.]+", "-", record[1]).lower()
        for path in self._unpacked:
            owned = self._files.get(path)
            if owned is not None and owned.owner == UNKNOWN_DEPENDENCY:
                self._files[path] = msgspec.structs.replace(owned, owner=name)
        self._unpacked.clear()


def _above(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
