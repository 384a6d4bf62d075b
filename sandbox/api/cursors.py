"""Where a page of a list ends, for whoever wants the next one. It is checked when it comes back."""

from __future__ import annotations

import base64
import binascii
import math
import re
from http import HTTPStatus
from typing import Final, TypeAlias

from sandbox.api.problems import ProblemError

Position: TypeAlias = tuple[float, str]
"""Instant and id of the last row of a page."""
_TEXT: Final = re.compile(r"([0-9]{1,11}(?:\.[0-9]{1,9})?):([0-9a-z]{1,32})")
MAX_CURSOR: Final = 80


def encode(position: Position) -> str:
    """A cursor."""
    instant, identifier = position
    return base64.urlsafe_b64encode(f"{instant!r}:{identifier}".encode()).decode().rstrip("=")


def decode(cursor: str | None) -> Position | None:
    """The position of a cursor; `None` for the beginning.

    Raises:
        ProblemError: It is not one of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    words = _TEXT.fullmatch(text)
    if words is None or not math.isfinite(float(words[1])):
        detail = "this is not a cursor; give the `next` of the page before, unchanged, or begin without one"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "cursor", detail)
    return float(words[1]), words[2]
