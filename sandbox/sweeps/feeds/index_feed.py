"""The index's own feeds of new projects and of new releases, where it has them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from sandbox.intake.quoting import quoted
from sandbox.registry.errors import NotFoundError, RegistryError
from sandbox.registry.links import host_of
from sandbox.sweeps.feeds.feed import Entry, FeedError, Page, Refused
from sandbox.sweeps.feeds.names import purl_of
from sandbox.sweeps.feeds.rss import read_rss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.registry.fetch import Fetcher
    from sandbox.sweeps.feeds.feed import Cursor, Feed
    from sandbox.sweeps.feeds.rss import Item

_MAX_BYTES: Final = 8 * 1024**2
_WHAT: Final = {"projects": "new project", "releases": "new release"}


class IndexFeed:
    """Reads an RSS document at the host of each index that pip is configured with.

    An index's document holds its latest few items only. When none of them was there at the last sweep, some were
    missed in between, and a note says so.

    Args:
        fetcher: Asks the indexes.
        what: Whether items are projects or releases.
        path: The document's place on the index's host, such as `/rss/updates.xml`.
        fallback: What to read instead when no index has the document; `None` for nothing.
    """

    def __init__(
        self, fetcher: Fetcher, what: Literal["projects", "releases"], path: str, fallback: Feed | None = None
    ) -> None:
        self._fetcher = fetcher
        self._what: Final = what
        self._path = path
        self._fallback = fallback

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """See `Feed`."""
        documents, missing = self._documents()
        if documents:
            page = self._page(documents, missing, frozenset(cursor.get("seen", ())))
            # What was polled is kept: the index may lose its feed for a while.
            watched = {"watch": cursor["watch"]} if "watch" in cursor else {}
            yield msgspec.structs.replace(page, cursor={**page.cursor, **watched})
            return
        where = " and ".join(sorted({host_of(url) for url in self._fetcher.index_urls}))
        if self._fallback is None:
            advice = "give the sweep a `watch` list to poll" if self._what == "releases" else "sweep `updates` instead"
            raise FeedError(f"{where} has no feed at {self._path} (a mirror may lack it); {advice}")
        note = f"{where} has no feed at {self._path}: the watch-list was polled instead"
        for page in self._fallback.pages(cursor.get("watch", {})):
            after = {**cursor, "watch": page.cursor}
            yield msgspec.structs.replace(page, cursor=after, notes=(note, *page.notes))

    def _documents(self) -> tuple[list[bytes], list[str]]:
        """The documents, and the hosts that have none."""
        documents, missing = [], []
        for base in self._fetcher.index_urls:
            parts = urlsplit(base)
            try:
                blob = self._fetcher.stored(f"{parts.scheme}://{parts.netloc}{self._path}", max_bytes=_MAX_BYTES).blob
                documents.append(blob.path.read_bytes())
            except NotFoundError:
                missing.append(host_of(base))
            except RegistryError as error:
                raise FeedError(f"the feed {self._path} cannot be read: {error}; try later") from error
        return documents, missing

    def _page(self, documents: list[bytes], missing: list[str], seen: frozenset[str]) -> Page:
        refused = Refused()
        notes = [f"{host} has no feed at {self._path}" for host in missing]
        entries: dict[str, Entry] = {}
        marks: list[str] = []
        for document in documents:
            try:
                items = read_rss(document)
            except ValueError as error:
                raise FeedError(f"the feed {self._path} cannot be read: {error}") from error
            found = [(item, hashlib.sha256(f"{item.guid}\0{item.link}".encode()).hexdigest()[:16]) for item in items]
            if seen and found and not any(mark in seen for _, mark in found):
                notes.append(
                    f"nothing in the feed was there at the last sweep: what came in between and before "
                    f"{quoted(found[-1][0].published, 40)} was missed; sweep more often"
                )
            marks += [mark for _, mark in found]
            for item, mark in reversed(found):
                if mark not in seen:
                    self._add(item, entries, refused)
        return Page(
            entries=tuple(entries.values()),
            cursor={"seen": marks},
            bad=refused.count,
            notes=(*notes, *refused.notes()),
        )

    def _add(self, item: Item, entries: dict[str, Entry], refused: Refused) -> None:
        try:
            name, version = _named(item)
            purl = purl_of(name, version if self._what == "releases" else "")
            if self._what == "releases" and not version:
                raise ValueError("it names no version")  # noqa: TRY301 - told like what `purl_of` finds
        except ValueError as error:
            refused.add(item.link or item.title, str(error))
            return
        when = f", {item.published}" if item.published else ""
        entries[purl] = Entry(purl=purl, why=f"{_WHAT[self._what]}{when}")


def _named(item: Item) -> tuple[str, str]:
    """Name and version (empty for none) of an item, whose link ends in `/project/NAME/` or `/project/NAME/VERSION/`."""
    segments = [unquote(segment) for segment in urlsplit(item.link).path.split("/") if segment]
    if "project" not in segments:
        raise ValueError("its link leads to no project")
    name, version, *_ = [*segments[segments.index("project") + 1 :], "", ""]
    return name, version
