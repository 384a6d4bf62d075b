"""Who we are to which server."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from sandbox.registry.links import canonical, host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Pair: TypeAlias = tuple[str, str]
"""User and password."""


def split_credentials(url: str) -> tuple[str, Pair | None]:
    """Take `user:password@` out of an index address.

    Returns:
        The address without them (canonical, without trailing slash; empty when it is not http or https) and them.
    """
    parts = urlsplit(url)
    bare = canonical(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()).rstrip("/")
    if parts.username is None:
        return bare, None
    return bare, (unquote(parts.username), unquote(parts.password or ""))


class Credentials:
    """Chooses user and password for an address as pip does.

    Those of an index address go to its origin (scheme, host and port) alone; where several indexes have one origin, the
    one whose address is most like the wanted one decides. Those of a netrc go by the host's name, but unencrypted only
    to an index that is configured so.

    Args:
        indexes: Configured index, canonical and without user and password -> (user, password), None when it has none.
        hosts: Host name -> (user, password), from the netrc.
    """

    def __init__(self, indexes: Mapping[str, Pair | None], hosts: Mapping[str, Pair]) -> None:
        self._indexes = dict(indexes)
        self._hosts = dict(hosts)

    def find(self, url: str) -> Pair | None:
        """Return (user, password) for a canonical address; None when it gets none."""
        origin = _origin(url)
        near = [index for index in self._indexes if _origin(index) == origin]
        if near:
            nearest = max(near, key=lambda index: len(posixpath.commonpath((index, url))))
            if pair := self._indexes[nearest]:
                return pair
        return self._hosts.get(host_of(url)) if near or url.startswith("https:") else None


def _origin(url: str) -> tuple[str, str]:
    """Scheme and authority of a canonical address, which has no default port in it."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
