"""What a peer speaks, by its first bytes; and what to say to one that waits for us."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from sandbox.gateway.hello import looks_like_tls

if TYPE_CHECKING:
    from sandbox.gateway.channel import Channel
    from sandbox.gateway.config import Limits

_METHODS = (
    *(b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"QUERY"),
    *(b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"PURGE"),
)
_HTTP = re.compile(rb"(?:" + b"|".join(_METHODS) + rb") [^\s]")
_LONGEST = max(map(len, _METHODS)) + 2
_GREETINGS = {
    21: b"220 ftp\r\n",
    22: b"SSH-2.0-OpenSSH_9.2\r\n",
    25: b"220 mail ESMTP\r\n",
    465: b"220 mail ESMTP\r\n",
    587: b"220 mail ESMTP\r\n",
    2525: b"220 mail ESMTP\r\n",
}
_WEB_PORTS = frozenset({80, 443, 3128, 8000, 8080, 8443})
_WEB_PATIENCE = 3.0
SHELL_COMMAND = b"id\n"


class Speech(enum.Enum):
    """What the first bytes look like; the values are those of `ConnectionRecord.protocol`."""

    TLS = "tls"
    HTTP = "http"
    RAW = "raw"
    SILENT = "silent"


def classify(data: bytes) -> Speech | None:
    """Tell the protocol from the first bytes; None when they are too few to tell."""
    if not data:
        return None
    if looks_like_tls(data):
        return Speech.TLS if len(data) > 1 else None
    if _HTTP.match(data):
        return Speech.HTTP
    if len(data) < _LONGEST and any((method + b" ").startswith(data) for method in _METHODS):
        return None
    return Speech.RAW


def greeting(port: int) -> bytes:
    """Return what the server on a port would say first; a command for anybody who may be a shell."""
    return _GREETINGS.get(port, SHELL_COMMAND)


async def listen(channel: Channel, port: int, limits: Limits) -> tuple[Speech, bytes]:
    """Wait for a peer's first bytes and tell what they are; they stay in the channel.

    A peer that stays silent is spoken to once. Clients of web ports get more time: they do speak first, and one that
    is slow must not be disturbed; but shells are sent to these ports too.

    Returns:
        What the peer speaks, and what was said to it.
    """
    patience = limits.silence_seconds * (_WEB_PATIENCE if port in _WEB_PORTS else 1.0)
    data, said = b"", b""
    while True:
        speech = classify(data)
        if speech is not None:
            break
        try:
            more = await channel.receive(patience)
        except TimeoutError:
            if data or said:
                break
            said, patience = greeting(port), limits.idle_seconds
            await channel.send(said)
            continue
        if not more:
            break
        data += more
    channel.give_back(data)
    return speech or (Speech.RAW if data else Speech.SILENT), said
