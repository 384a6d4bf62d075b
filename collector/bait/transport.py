"""Undoes what transports do to text on its way: line breaks, string escapes, percent-encoding, quoted-printable.

A receiver undoes these without being told to, so they are no encoding of their own in a hit, but for the
percent-encoding of a value itself, which is called `url`.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from collector.bait.blob import Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHORTEST: Final = 12
"""Characters of the shortest text that is looked at among bytes that are none."""
_TEXT: Final = re.compile(rb"[\t\n\r -~]{%d,}" % _SHORTEST)
_IS_TEXT: Final = bytes(97 if byte in b"\t\n\r" or 32 <= byte < 127 else 0 for byte in range(256))  # noqa: PLR2004 - printable
# A run of backslashes is taken at once: tried again from each of them it would be quadratic.
_ESCAPES: Final = re.compile(rb"[\r\n]+|(\\+)([rn]|u([0-9a-fA-F]{4})|([\"/]))?")
_PERCENT: Final = re.compile(rb"%[0-9a-fA-F]{2}")
_SOFT: Final = re.compile(rb"=(?:\r?\n|3D|0A)")
_LATIN: Final = 0xFF


def text_of(blob: Blob) -> Blob | None:
    """Give the text among the bytes of a blob: the runs of printable ASCII; None when there are none."""
    kinds = blob.data.translate(_IS_TEXT)
    if b"a" * _SHORTEST not in kinds:
        return None
    if len(blob.starts) == 1 and b"\0" not in kinds:
        return blob
    runs = [match.span() for match in _TEXT.finditer(blob.data)]
    return Blob.made((blob.root(start, end), blob.data[start:end]) for start, end in runs)


class Reading(NamedTuple):
    """A text as a receiver may read it."""

    undone: str
    """`url` when percent-encoding was undone, else nothing."""
    blob: Blob
    """It may hold any bytes."""
    sent: bool
    """This is the text as it was sent."""
    clean: bool
    """Nothing more can be undone in it, so that runs of an alphabet are whole."""


def readings(text: Blob, *, spaces: bool) -> Iterator[Reading]:
    """Yield a text as it was sent, and as receivers would read it when that differs.

    Args:
        text: From `text_of`.
        spaces: Whether a bait holds a space, which forms write as `+`.
    """
    plain = _changed(text, _unescaped) or text
    yield Reading("", text, sent=True, clean=plain is text)
    if plain is not text:
        yield Reading("", plain, sent=False, clean=True)
    if _SOFT.search(text.data) and (printable := _changed(text, binascii.a2b_qp)):
        yield from _both("", printable)
    for spaced in (False, True) if spaces and b"+" in plain.data else (False,):
        if once := _changed(plain, _spaced if spaced else _unquoted):
            yield from _both("url", once)
            if twice := _changed(once, _unquoted):
                yield from _both("url", twice)


def _both(undone: str, blob: Blob) -> Iterator[Reading]:
    """A reading as it is (it may be compressed data) and, when that differs, without line breaks and escapes."""
    plain = _changed(blob, _unescaped)
    yield Reading(undone, blob, sent=False, clean=plain is None)
    if plain is not None:
        yield Reading(undone, plain, sent=False, clean=True)


def _changed(blob: Blob, undo: Callable[[bytes], bytes]) -> Blob | None:
    """The blob with each piece changed, or None when nothing changes."""
    pieces = [(start, piece, undo(piece)) for start, piece in blob.pieces()]
    if all(piece == after for _, piece, after in pieces):
        return None
    return Blob.made((blob.root(start, start + len(piece)), after) for start, piece, after in pieces)


def _unescaped(data: bytes) -> bytes:
    """Without line breaks, also as strings of JSON and most languages write them, and without their other escapes."""
    if b"\\" not in data and b"\n" not in data and b"\r" not in data:
        return data
    return _ESCAPES.sub(_meant, data)


def _meant(match: re.Match[bytes]) -> bytes:
    backslashes, escape, code, quoted = match.groups()
    if backslashes and not escape:
        return b"\\" * ((len(backslashes) + 1) // 2)
    if code:
        number = int(code, 16)
        # Text that carries bytes has one character for each.
        return bytes([number]) if number <= _LATIN else chr(number).encode("utf-8", "replace")
    return quoted or b""


def _unquoted(data: bytes) -> bytes:
    return unquote_to_bytes(data) if _PERCENT.search(data) else data


def _spaced(data: bytes) -> bytes:
    return unquote_to_bytes(data.replace(b"+", b" "))
