"""Paths and other text of a trace as bounded, printable-safe strings."""

from __future__ import annotations

import posixpath
import re
from typing import Final

MAX_TEXT: Final = 4096
"""Characters kept of any text."""

_PROC_SELF: Final = re.compile(r"/proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?/(root|cwd)(/.*)?\Z", re.DOTALL)
_UNFINISHED: Final = ("/", "/.", "/..")
"""Ends of paths that are not as short as they could be."""
_DESCRIPTOR: Final = re.compile(r"(?:/proc/(?:self|thread-self|[0-9]+)|/dev)/fd/([0-9]{1,9})\Z")


def decoded(raw: bytes) -> str:
    r"""Bytes as text; what is not UTF-8 becomes `\xNN`."""
    return raw[: 4 * MAX_TEXT].decode("utf-8", "backslashreplace")[:MAX_TEXT]


def absolute(path: str, base: str) -> str:
    """`path` seen from the directory `base`, without `.`, `..` and double slashes; relative when `base` is unknown."""
    if not path.startswith("/"):
        if not base.startswith("/"):
            return path
        path = f"{base}/{path}"
    if "//" in path or path.endswith(_UNFINISHED) or ("/." in path and ("/./" in path or "/../" in path)):
        # normpath keeps two leading slashes, Linux does not.
        path = "/" + posixpath.normpath(path).lstrip("/")
    if path.startswith("/proc/") and (match := _PROC_SELF.match(path)) is not None:
        rest = match[2] or ""
        if match[1] == "root":
            path = rest or "/"
        elif base and path.startswith(("/proc/self/", "/proc/thread-self/")):
            path = base + rest
    return path[:MAX_TEXT]


def named_descriptor(path: str) -> int | None:
    """N of `/proc/self/fd/N` or `/dev/fd/N`."""
    match = _DESCRIPTOR.match(path)
    return None if match is None else int(match[1])


def opened_path(asked: str, resolved: str) -> str:
    """The better name of an opened file: what it resolved to, save where the kernel only put the pid in place."""
    if not resolved.startswith("/"):
        return asked
    if resolved.startswith("/proc/") and asked.startswith(("/proc/self/", "/proc/thread-self/")):
        return asked
    return resolved
