"""The files that processes of a run wrote, followed through renames and links."""

from __future__ import annotations

from typing import Final

import msgspec

_DEVICES: Final = ("/proc/", "/dev/null", "/dev/tty", "/dev/pts/")


class Written(msgspec.Struct, frozen=True):
    """A file that a process of the run wrote; a rename or a link keeps writer and time."""

    path: str
    pid: int
    """The process that wrote it first."""
    ts: float
    """When, in seconds since the epoch."""
    phase: str


class WrittenFiles:
    """The files that processes of the run wrote, followed through renames and links."""

    def __init__(self) -> None:
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

    def add(self, written: Written) -> None:
        """Marks a file as written; the first writer stays until the file is removed."""
        if written.path in self._files or written.path.startswith(_DEVICES):
            return
        self._links.pop(written.path, None)
        self._files[written.path] = written
        self._index(written.path)

    def remove(self, path: str) -> None:
        """A file was deleted."""
        self._files.pop(path, None)
        self._links.pop(path, None)

    def link(self, target: str, path: str, *, symbolic: bool) -> None:
        """`path` now names what `target` names."""
        if symbolic:
            self._links[path] = target
            self._index(path)
        elif (written := self._files.get(target)) is not None:
            self._files[path] = msgspec.structs.replace(written, path=path)
            self._index(path)

    def rename(self, old: str, new: str) -> None:
        """A file, or a directory with all below it, has a new name."""
        if new == old or new.startswith(old + "/"):
            return  # A symbolic link moved into the directory it names: nothing moves by these names.
        todo = [(old, new)]
        while todo:
            source, target = todo.pop()
            if (written := self._files.pop(source, None)) is not None:
                self._files[target] = msgspec.structs.replace(written, path=target)
                self._index(target)
            elif source in self._links:
                self._links[target] = self._links.pop(source)
                self._index(target)
            else:
                self._files.pop(target, None)
            todo.extend((child, target + child[len(source) :]) for child in sorted(self._below.pop(source, ())))

    def exchange(self, one: str, other: str) -> None:
        """Two names changed places."""
        aside = f"{one}\0"
        self.rename(one, aside)
        self.rename(other, one)
        self.rename(aside, other)

    def _index(self, path: str) -> None:
        while path and path != "/":
            parent = path.rpartition("/")[0]
            siblings = self._below.get(parent)
            if siblings is None:
                self._below[parent] = {path}
            elif path in siblings:
                return
            else:
                siblings.add(path)
            path = parent
