"""The files that processes of a run wrote, followed through renames and links."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from collector.allowance import Allowance

_MOST_TEXT: Final = 1 << 24
"""Characters of the names of all files and directories that are followed."""
_T = TypeVar("_T")
_DEVICES: Final = ("/proc/", "/dev/null", "/dev/tty", "/dev/pts/")


class Written(msgspec.Struct, frozen=True, gc=False):
    """A file that a process of the run wrote; a rename or a link keeps writer and time."""

    path: str
    pid: int
    """The process that wrote it first."""
    ts: float
    """When, in seconds since the epoch."""
    phase: str


class WrittenFiles:
    """The files that processes of the run wrote, followed through renames and links."""

    def __init__(self, allowance: Allowance | None = None) -> None:
        """Begin.

        Args:
            allowance: How many are followed.
        """
        self._allowance = allowance or Allowance()
        self._room = _MOST_TEXT
        """Characters of names that may still be indexed."""
        self._files: dict[str, Written] = {}
        self._links: dict[str, str] = {}
        self._below: dict[str, set[str]] = {}

    def get(self, path: str) -> Written | None:
        """Who wrote a file, looking through symbolic links the run made; None when it was not written in the run."""
        for _ in range(8):
            if path not in self._links:
                break
            path = self._links[path]
        return self._files.get(path)

    def add(self, path: str, pid: int, ts: float, phase: str) -> None:
        """Marks a file as written (see `Written`); the first writer stays until the file is removed."""
        if path in self._files or path.startswith(_DEVICES):
            return
        if self._links:
            self._take(self._links, path)
        self._put(self._files, path, Written(path, pid, ts, phase))

    def remove(self, path: str) -> None:
        """A file was deleted."""
        self._take(self._files, path)
        self._take(self._links, path)
        if not self._below.get(path):
            self._below.pop(path, None)
            self._forget(path)

    def link(self, target: str, path: str, *, symbolic: bool) -> None:
        """`path` now names what `target` names."""
        if symbolic:
            self._put(self._links, path, target)
        elif (written := self._files.get(target)) is not None:
            self._put(self._files, path, msgspec.structs.replace(written, path=path))

    def rename(self, old: str, new: str) -> None:
        """A file, or a directory with all below it, has a new name."""
        if new == old or new.startswith(old + "/"):
            return  # A symbolic link moved into the directory it names: nothing moves by these names.
        todo = [(old, new)]
        while todo:
            source, target = todo.pop()
            if (written := self._take(self._files, source)) is not None:
                self._put(self._files, target, msgspec.structs.replace(written, path=target))
            elif (link := self._take(self._links, source)) is not None:
                self._put(self._links, target, link)
            else:
                self._take(self._files, target)
            if children := self._below.pop(source, None):
                self._room += sum(map(len, children))
                todo.extend((child, target + child[len(source) :]) for child in sorted(children))
            self._forget(source)

    def exchange(self, one: str, other: str) -> None:
        """Two names changed places."""
        aside = f"{one}\0"
        self.rename(one, aside)
        self.rename(other, one)
        self.rename(aside, other)

    def _put(self, names: dict[str, _T], path: str, what: _T) -> None:
        if path in names or self._allowance.takes("written files", room=self._room > 0):
            names[path] = what
            self._index(path)

    def _take(self, names: dict[str, _T], path: str) -> _T | None:
        what = names.pop(path, None)
        if what is not None:
            self._allowance.release("written files")
        return what

    def _index(self, path: str) -> None:
        """Make a name known to the directories above it."""
        while path and path != "/":
            parent = path[: max(path.rfind("/"), 0)]
            siblings = self._below.get(parent)
            if siblings is None:
                self._below[parent] = {path}
            elif path in siblings:
                return
            else:
                siblings.add(path)
            self._room -= len(path)
            path = parent

    def _forget(self, path: str) -> None:
        """A name with nothing below it is gone."""
        siblings = self._below.get(path.rpartition("/")[0])
        if siblings is not None and path in siblings:
            siblings.remove(path)
            self._room += len(path)
