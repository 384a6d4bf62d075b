"""Names of submissions: ULIDs, so that they sort by time and never meet."""

from __future__ import annotations

import re
import secrets
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base32, in small letters."""
_LENGTH: Final = 26
IDENTIFIER: Final = re.compile(rf"[0-7][{_ALPHABET}]{{{_LENGTH - 1}}}")


def new(now: float) -> str:
    """A new identifier.

    Args:
        now: UTC seconds since the epoch.
    """
    number = (int(now * 1000) & (1 << 48) - 1) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
