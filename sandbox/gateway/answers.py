"""What the sinkhole answers: something harmless of the kind that was asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

_BY_SUFFIX = {
    ".sh": ("text/x-shellscript", b"#!/bin/sh\nexit 0\n"),
    ".bash": ("text/x-shellscript", b"#!/bin/sh\nexit 0\n"),
    ".py": ("text/x-python", b"pass\n"),
    ".js": ("application/javascript", b";\n"),
    ".ps1": ("text/plain", b"exit 0\n"),
    ".json": ("application/json", b"{}"),
    ".txt": ("text/plain", b"ok\n"),
    ".xml": ("application/xml", b"<ok/>\n"),
}
_PLAIN = ("text/plain", b"ok\n")
_JSON = ("application/json", b"{}")
_HTML = ("text/html", b"<!doctype html><title>ok</title>ok\n")
NO_CONTENT = 204


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole HTTP answer."""

    status: int = 200
    content_type: str = "text/plain"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    served_by: str = "sinkhole"


def sinkhole(target: str, accept: str, content_type: str) -> Answer:
    """Choose an answer by the path's suffix, then by what the client accepts or sent."""
    path = urlsplit_path(target)
    if path.endswith("/generate_204"):
        return Answer(status=NO_CONTENT)
    suffix = path[path.rfind(".") :].lower() if "." in path.rpartition("/")[2] else ""
    kind = _BY_SUFFIX.get(suffix)
    if kind is None:
        if "json" in accept or "json" in content_type:
            kind = _JSON
        elif "html" in accept:
            kind = _HTML
        else:
            kind = _PLAIN
    return Answer(content_type=kind[0], body=kind[1])


def urlsplit_path(target: str) -> str:
    """Return the path of a request target; of a malformed one everything before a question mark."""
    try:
        return urlsplit(target).path
    except ValueError:
        return target.partition("?")[0]
