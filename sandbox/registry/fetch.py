"""Asking the package index and its file hosts, through the cache. Used by the proxy and by the intake.

with Fetcher(FetchSettings(index_urls=("https://index.example/simple",)), Cache(path)) as fetcher:
    answer = fetcher.page("https://index.example/simple/requests/")  # IndexAnswer
    path = fetcher.file(url, sha256)  # Path of a verified blob in the cache; copy it soon
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeAlias

import msgspec

from sandbox.registry.cache import Blob, Cache, Note
from sandbox.registry.credentials import Credentials, Pair, split_credentials
from sandbox.registry.errors import UnreachableError
from sandbox.registry.links import HTML_TYPE, JSON_TYPE, FileLink, canonical, host_of, parse_page
from sandbox.registry.upstream import Upstream, trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    import httpx2

Form: TypeAlias = Literal["json", "html"]

_ACCEPT: dict[Form, str] = {
    "json": f"{JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, {HTML_TYPE};q=0.1",
    "html": f"{HTML_TYPE}, application/vnd.pypi.simple.v1+html;q=0.5",
}
_NOT_MODIFIED = 304
_LARGE = 8 * 1024**2


class FetchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the index is and how to reach it; plain values, read from pip's configuration by the caller."""

    index_urls: tuple[str, ...]
    """Base addresses (`https://host/simple`), first is primary; `user:password@` in one is used as its credentials.
    Addresses that are not http or https are left out."""
    credentials: dict[str, tuple[str, str]] = {}
    """Host name -> (user, password), as in a netrc: for hosts whose credentials do not stand in `index_urls`. They go
    over https, or to an index that is configured without."""
    ca_file: str = ""
    """PEM bundle to trust instead of the system's store (pip's `cert`)."""
    client_cert: str = ""
    """PEM file with client certificate and key (pip's `client-cert`)."""
    index_ttl: float = 60.0
    """Seconds an index page is served from the cache before it is revalidated."""
    timeout: float = 30.0
    """Seconds for connecting and for each read."""
    max_file_bytes: int = 2 * 1024**3
    max_index_bytes: int = 256 * 1024**2


class IndexAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A project's page in an index; every link in `body` is absolute."""

    url: str
    """Where it was finally read from."""
    content_type: str
    body: bytes
    files: tuple[FileLink, ...]
    cached: bool = False
    """Served from the cache without asking the index."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the cache."""

    blob: Blob
    cached: bool = False


class Listener(Protocol):
    """Wants a large file's bytes while they come."""

    def begin(self, length: int) -> None:
        """Hear how many bytes will come; called once, before `hear`."""

    def hear(self, chunk: bytes) -> None:
        """Take the next bytes; errors end the download."""


class Fetcher:
    """Reads index pages and files; thread-safe; a context manager.

    All methods raise `NotFoundError` (no such project or file), `UnreachableError` (no usable answer) and
    `TooLargeError`; files also `IntegrityError`. All are `RegistryError`.

    Args:
        settings: Where the index is.
        cache: Shared with other runs and processes.

    Raises:
        RegistryError: A configured certificate file cannot be read.
    """

    def __init__(self, settings: FetchSettings, cache: Cache) -> None:
        self.settings = settings
        self.cache = cache
        self.index_urls: tuple[str, ...] = ()
        indexes: dict[str, Pair | None] = {}
        for url in settings.index_urls:
            bare, pair = split_credentials(url)
            if not bare:
                continue
            self.index_urls += (bare,)
            indexes[bare] = pair or indexes.get(bare)
        hosts = frozenset(map(host_of, self.index_urls))
        context = trust(settings.ca_file, settings.client_cert)
        credentials = Credentials(indexes, settings.credentials)
        self._upstream = Upstream(context, credentials, hosts, settings.timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._upstream.close()
        self.cache.trim_when_due()

    def break_off(self) -> None:
        """Let whatever other threads still fetch fail at once, as `UnreachableError`; nothing can be fetched after."""
        self._upstream.break_off()

    def page(self, url: str, form: Form = "json") -> IndexAnswer:
        """Read one index page by its canonical address.

        Args:
            url: As `sandbox.registry.links.canonical` writes it.
            form: `json` asks for PEP 691 and takes HTML too; `html` asks for PEP 503 only.
        """
        key = f"{form} {url}"
        note = self.cache.note(key)
        blob = self.cache.blob(note.sha256) if note else None
        if note and blob and 0 <= time.time() - note.stored < self.settings.index_ttl:
            return self._page(note, blob, cached=True)
        headers = {"Accept": _ACCEPT[form]}
        if note and blob:
            headers |= _conditions(note)
        with self._upstream.get(url, headers) as response:
            if response.status_code == _NOT_MODIFIED and note and blob:
                fresh = msgspec.structs.replace(note, stored=time.time())
            else:
                blob = self.cache.store(response.iter_bytes(), max_bytes=self.settings.max_index_bytes)
                fresh = _note(response, blob)
        self.cache.remember(key, fresh)
        return self._page(fresh, blob, cached=False)

    def file(self, url: str, sha256: str = "") -> Path:
        """Return the path of a file's verified bytes in the cache; see `stored`."""
        return self.stored(url, sha256).blob.path

    def stored(
        self,
        url: str,
        sha256: str = "",
        max_bytes: int | None = None,
        listener: Listener | None = None,
    ) -> StoredFile:
        """Get a file into the cache.

        Args:
            url: Its address, as the index names it.
            sha256: The digest that the index promised. With it a file is fetched once for ever; without it the cached
                copy is used only after the file host confirmed it by its ETag.
            max_bytes: Another bound than that of the settings.
            listener: Gets the bytes of a large file while they come, before they are verified.
        """
        if sha256 and (blob := self.cache.blob(sha256.lower())):
            return StoredFile(blob=blob, cached=True)
        address = canonical(url)
        if not address:
            raise UnreachableError("the file's address is not a plain http or https address")
        key = f"file {address}"
        note = None if sha256 else self.cache.note(key)
        blob = self.cache.blob(note.sha256) if note else None
        headers = {"Accept-Encoding": "identity"}
        if note and blob:
            headers |= _conditions(note)
        with self._upstream.get(address, headers) as response:
            if response.status_code == _NOT_MODIFIED and blob:
                return StoredFile(blob=blob, cached=True)
            blob = self.cache.store(
                _listened(response, listener),
                expected=sha256.lower(),
                max_bytes=max_bytes or self.settings.max_file_bytes,
            )
            self.cache.remember(key, _note(response, blob))
        return StoredFile(blob=blob)

    def _page(self, note: Note, blob: Blob, *, cached: bool) -> IndexAnswer:
        try:
            page = parse_page(blob.path.read_bytes(), note.content_type, note.url)
        except (ValueError, OSError) as error:
            raise UnreachableError(f"{host_of(note.url)} sent an index page that cannot be read: {error}") from error
        self._upstream.admit(frozenset(host_of(link.url) for link in page.files))
        return IndexAnswer(
            url=note.url,
            content_type=note.content_type or HTML_TYPE,
            body=page.body,
            files=page.files,
            cached=cached,
        )


def _conditions(note: Note) -> dict[str, str]:
    if note.etag:
        return {"If-None-Match": note.etag}
    return {"If-Modified-Since": note.last_modified} if note.last_modified else {}


def _note(response: httpx2.Response, blob: Blob) -> Note:
    headers = response.headers
    return Note(
        url=canonical(str(response.url)),
        sha256=blob.sha256,
        stored=time.time(),
        etag=headers.get("etag", ""),
        last_modified=headers.get("last-modified", ""),
        content_type=headers.get("content-type", ""),
    )


def _listened(response: httpx2.Response, listener: Listener | None) -> Iterator[bytes]:
    """Yield the body as it was sent, letting a listener hear it when it is large and its length is known."""
    length = response.headers.get("content-length", "")
    if listener is None or not length.isdecimal() or int(length) < _LARGE:
        yield from response.iter_raw()
        return
    listener.begin(int(length))
    for chunk in response.iter_raw():
        listener.hear(chunk)
        yield chunk
