"""Polls the projects of a watch-list: what is new since the last sweep, or since a date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.registry.errors import NotFoundError, RegistryError
from sandbox.sweeps.feeds.feed import Entry, FeedError, Page, Refused
from sandbox.sweeps.feeds.files import read_watch_list
from sandbox.sweeps.feeds.names import purl_of
from sandbox.sweeps.feeds.project import read_project, uploaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.registry.fetch import Fetcher
    from sandbox.sweeps.feeds.feed import Cursor
    from sandbox.sweeps.feeds.project import Project

MOST: Final = 20_000
"""Names of a watch-list."""
_PAGE: Final = 50
"""Projects that are asked about between two commits."""
_SILENT: Final = 5
"""Projects one after the other for which the index does not answer: then it is the index."""
_DAY: Final = 86_400.0


class WatchFeed:
    """Compares each project's serial with that of the last sweep; of a changed one, names the newer releases.

    A project that was never polled before gives its releases since a date, or, without one, none: it is remembered as
    it is.

    Args:
        fetcher: Asks the indexes.
        path: A list of names, one a line.
        now: UTC seconds since the epoch; no upload counts as later than a day after it.
        since: UTC seconds since the epoch: for projects that were never polled.
    """

    def __init__(self, fetcher: Fetcher, path: Path, *, now: float, since: float | None = None) -> None:
        self._fetcher = fetcher
        self._path = path
        self._now = now
        self._since = since

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """See `Feed`; an interrupted sweep goes on after the last name that was committed."""
        names, unreadable = read_watch_list(self._path, MOST)
        known: dict[str, list[Any]] = {name: cursor["known"][name] for name in names if name in cursor.get("known", {})}
        after = cursor.get("after", "")
        start = names.index(after) + 1 if after in names else 0
        for first in range(start, max(len(names), 1), _PAGE):
            poll = _Poll(self._fetcher, known, self._now, self._since)
            chunk = names[first : first + _PAGE]
            entries = tuple(entry for name in chunk for entry in poll.ask(name))
            refused = unreadable if first == start else Refused()
            place = {"after": chunk[-1]} if first + _PAGE < len(names) else {}
            yield Page(
                entries=entries,
                cursor={"known": dict(known), **place},
                bad=refused.count + poll.refused.count,
                notes=(*refused.notes(), *poll.notes()),
            )


class _Poll:
    """Asks about the projects of one page."""

    def __init__(self, fetcher: Fetcher, known: dict[str, list[Any]], now: float, since: float | None) -> None:
        self._fetcher = fetcher
        self._known = known
        self._latest = now + _DAY
        self._since = since
        self._silent = 0
        self._first = 0
        self._undated = 0
        self.refused = Refused("projects of the watch-list")

    def notes(self) -> tuple[str, ...]:
        """What the digest must tell about the page."""
        notes = list(self.refused.notes())
        if self._first and self._since is None:
            notes.append(f"{self._first} projects were polled for the first time: only later releases will be swept")
        if self._undated:
            notes.append(f"the index does not say when the releases of {self._undated} projects came: newest taken")
        return tuple(notes)

    def ask(self, name: str) -> list[Entry]:
        """What is new of one project, the oldest first; remembers what it is now."""
        try:
            project = read_project(self._fetcher, name)
        except NotFoundError as error:
            self.refused.add(name, str(error))
            return []
        except RegistryError as error:
            # It stays as it was remembered, so that nothing of it is lost.
            self._silent += 1
            if self._silent >= _SILENT:
                raise FeedError(f"the index does not answer: {error}; try later") from error
            self.refused.add(name, str(error))
            return []
        self._silent = 0
        if project is None:
            self.refused.add(name, "not on the index")
            return []
        remembered = self._known.get(name)
        times = [min(file.uploaded, self._latest) for file in project.files if file.uploaded is not None]
        newest = max(times, default=0.0)
        self._known[name] = [project.serial, max(newest, remembered[1] if remembered else 0.0)]
        if remembered is not None and remembered[0] == project.serial:
            return []
        if remembered is None:
            self._first += 1
            return [] if self._since is None else self._newer(name, project, self._since, "released since the date")
        return self._newer(name, project, remembered[1], f"changed: serial {remembered[0]} is {project.serial}")

    def _newer(self, name: str, project: Project, than: float, why: str) -> list[Entry]:
        versions = project.versions()
        dated = {version: when for version in versions if (when := uploaded(project.of(version))) is not None}
        if versions and not dated:
            self._undated += 1
            return [Entry(purl=purl_of(name, str(versions[0])), why=f"{why}; no upload times")]
        fresh = sorted((when, version) for version, when in dated.items() if when > than)
        return [Entry(purl=purl_of(name, str(version)), why=why) for _, version in fresh]
