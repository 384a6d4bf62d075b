"""Whom an HTTP request is for, by its target and Host header."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from sandbox.gateway.origin import Origin

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_AUTHORITY = re.compile(r"(?:[^@]*@)?(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")
_MAX_PORT = 65535


class Address(msgspec.Struct, frozen=True):
    """A host (lower case) and the port, 0 when none was written."""

    host: str
    port: int = 0


def address_of(target: str, host_header: str, origin: Origin, *, connect: bool) -> Address:
    """Find the host that a request names: target's authority, else the Host header, else the dialled address."""
    absolute = _ABSOLUTE.match(target)
    authority = target if connect else absolute[1] if absolute else host_header
    found = _AUTHORITY.fullmatch(authority.strip())
    if not found:
        # Nonsense is evidence: keep it as the package wrote it.
        return Address(authority.strip().lower() or origin.ip)
    host = (found[1] or found[2]).lower().rstrip(".")
    port = int(found[3] or 0)
    return Address(host or origin.ip, port if port <= _MAX_PORT else 0)
