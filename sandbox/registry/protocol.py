"""What the gateway and the registry proxy say to each other on their unix socket.

One connection carries one exchange. The gateway sends a `ProxyRequest` as one line of JSON; the proxy answers with a
`ProxyReply` as one line of JSON, followed by exactly `length` bytes of body, and closes. When fewer bytes come, the
file turned out to be bad or the registry broke off while it was passed on: the client must not be given an intact end.
Lines are at most `MAX_LINE` bytes with the newline.
"""

from __future__ import annotations

import msgspec

MAX_LINE = 256 * 1024
FORWARDED = ("accept", "if-none-match")
"""Request headers (lower case) the gateway passes on."""


class ProxyRequest(msgspec.Struct, frozen=True):
    """A request of the pod for a registry host."""

    method: str
    url: str
    """Absolute: scheme, host, port when it is not the scheme's, path and query as the client sent them."""
    headers: dict[str, str] = {}


class ProxyReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The head of the answer."""

    status: int
    headers: dict[str, str] = {}
    length: int = 0
    """Bytes of body that follow; 0 for HEAD and 304, whatever content-length says."""
    link_hosts: tuple[str, ...] = ()
    """Hosts of the files that this index page names; the gateway treats them as registry hosts from now on."""
    refused: str = ""
    """Why the registry was not asked; the gateway's sinkhole answers instead."""
