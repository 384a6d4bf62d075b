"""Which requests of a pod the registry proxy passes on: index pages, and the files those pages named.

Everything else is refused, so that a package cannot use the way to the registry as a way out.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec
from packaging.utils import canonicalize_name

from sandbox.registry.links import FileLink, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROJECT = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,212}[A-Za-z0-9])?)/?")
_METADATA = ".metadata"
_MAX_URL = 4096


class IndexPage(msgspec.Struct, frozen=True):
    """Read this page of an index."""

    url: str


class IndexedFile(msgspec.Struct, frozen=True):
    """Fetch this file."""

    url: str
    sha256: str
    metadata: bool = False
    """It is the small metadata file (PEP 658) next to the one that the index names."""


class Refusal(msgspec.Struct, frozen=True):
    """Do not ask the registry."""

    reason: str


Decision: TypeAlias = IndexPage | IndexedFile | Refusal


class Policy:
    """Decides on requests and learns file addresses from index answers; thread-safe.

    Args:
        index_urls: The host's indexes, canonical and without trailing slash; the first is primary.
        pod_index_url: The index the pod's pip dials when nothing is configured in the pod; it stands for the primary.
    """

    def __init__(self, index_urls: tuple[str, ...], pod_index_url: str) -> None:
        self._prefixes = {f"{url}/": f"{url}/" for url in index_urls}
        pod = canonical(pod_index_url).rstrip("/")
        if pod and index_urls:
            self._prefixes.setdefault(f"{pod}/", f"{index_urls[0]}/")
        self._files: dict[str, FileLink] = {}
        self._lock = threading.Lock()

    def learn(self, files: Iterable[FileLink]) -> None:
        """Admit the files that an index page handed to the pod named."""
        known = {_key(link.url): link for link in files}
        with self._lock:
            self._files.update(known)

    def decide(self, method: str, url: str) -> Decision:
        """Decide on one request of the pod; `url` is absolute."""
        if method not in ("GET", "HEAD"):
            return Refusal(f"method {method[:20]} is not GET or HEAD")
        if len(url) > _MAX_URL:
            return Refusal("the address is too long")
        address = canonical(url)
        if not address:
            return Refusal("not a plain http or https address")
        for prefix, upstream in self._prefixes.items():
            if address.startswith(prefix) and (found := _PROJECT.fullmatch(address[len(prefix) :])):
                return IndexPage(f"{upstream}{canonicalize_name(found[1])}/")
        return self._decide_file(address)

    def _decide_file(self, address: str) -> Decision:
        key = _key(address)
        with self._lock:
            link = self._files.get(key)
            owner = self._files.get(key.removesuffix(_METADATA)) if key.endswith(_METADATA) else None
        if link:
            return IndexedFile(link.url, link.sha256)
        if owner:
            return IndexedFile(owner.url + _METADATA, owner.metadata_sha256, metadata=True)
        return Refusal("neither a project's page in a configured index nor a file that such a page named in this run")


def _key(url: str) -> str:
    """Make addresses comparable that differ only in how they quote; only the index's own spelling is ever fetched."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=quote(unquote(parts.path), safe="/")))
