"""Patterns that no normalised event can have: relative paths, other spellings of what events write in one way."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Final

from sigma.types import SigmaCasedString, SigmaExpansion, SigmaNumber, SigmaString

from collector.sigma.strings import glob_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigma.conditions import ConditionFieldEqualsValueExpression

_PATHS: Final = frozenset({"TargetFilename", "SourceFilename", "CurrentDirectory", "HomePath"})
_ERRORS: Final = frozenset({*errno.errorcode.values(), "SIGSYS", ""})
_PORTS: Final = frozenset({"DestinationPort", "SourcePort"})
_HIGHEST_PORT: Final = 65_535
_UP: Final = re.compile(r"/\.{1,2}/|//")


def oddities(leaf: ConditionFieldEqualsValueExpression) -> Iterator[str]:
    """Say why a test of a field never matches.

    Args:
        leaf: A leaf of a condition tree.

    Yields:
        Sentences; none when nothing is odd about it.
    """
    field, value = leaf.field, leaf.value
    if isinstance(value, SigmaExpansion):
        plain = [part for part in value.values if isinstance(part, SigmaString) and not part.contains_special()]
        if len(plain) == len(value.values):
            yield f"{field}: fragments of base64 never are the whole value; add `contains`"
    elif isinstance(value, SigmaNumber):
        if field == "Mode":
            yield f"{field} is written in octal: quote it, as in '0755'"
        if field in _PORTS and not 0 <= value.number <= _HIGHEST_PORT:
            yield f"{field} is never {value.number}"
    elif isinstance(value, SigmaString):
        yield from _of_text(field, value)


def _of_text(field: str, value: SigmaString) -> Iterator[str]:
    pieces = glob_of(value, cased=True).pieces
    plain = ["".join(part or "?" for part in piece) for piece in pieces]
    head = plain[0]
    shown = f"{str(value)!a:.80}"
    if field in _PATHS:
        start = "~" if field == "HomePath" else "/"
        # A name in brackets or with a colon is no path but what the kernel says of a descriptor.
        if head and head[0] not in {start, "?", "[", "@"} and ":" not in head:
            yield f"{field} begins with {start}, and {shown} does not"
        if any(_UP.search(piece) for piece in plain):
            yield f"{field} is normalised, without `//`, `/./` and `/../`, and {shown} is not"
        if plain[-1].endswith("/") and plain[-1] != "/" and len(plain[-1]) > 1:
            yield f"{field} never ends with `/`, as {shown} does; end it with `/*`"
    if field == "Errno" and len(pieces) == 1 and head.upper() not in _ERRORS:
        yield f"there is no error {shown}; name one such as ENOENT"
    if field == "Host" and isinstance(value, SigmaCasedString) and str(value) != str(value).lower():
        yield f"Host is in lower case, and {shown} is not; drop `cased`"
