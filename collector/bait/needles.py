"""The forms in which a bait value is looked for without decoding anything."""

from __future__ import annotations

import base64
import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from collector.manifest import Bait

MIN_LENGTH: Final = 8
"""Values with fewer bytes could stand in anything by chance and are not searched."""
MIN_DIFFERENT: Final = 4
"""Nor are values of fewer different bytes: a run of zeros is no secret."""
_LINE: Final = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
"""A line of a key file that is proof by itself."""
_NOT_UNIQUE: Final = ("-----", "b3BlbnNzaC1rZXktdjEA")
"""Beginnings of key lines that every key shares: PEM's frame, and OpenSSH's header for unencrypted keys."""
_CAPITALS, _SMALL = string.ascii_uppercase.encode(), string.ascii_lowercase.encode()
_ROT13: Final = bytes.maketrans(_CAPITALS + _SMALL, _CAPITALS[13:] + _CAPITALS[:13] + _SMALL[13:] + _SMALL[:13])
_ASCII85: Final = bytes.maketrans(
    string.digits.encode() + _CAPITALS + _SMALL + b"!#$%&()*+-;<=>?@^_`{|}~", bytes(range(ord("!"), ord("u") + 1))
)
"""From the digits of `base64.b85encode` to those of Ascii85."""

Chain: TypeAlias = tuple[str, ...]
"""Names of encodings, the outermost first; empty for a value as it is."""
_Form: TypeAlias = tuple[Chain, bytes]


class Needle(NamedTuple):
    """Bytes that prove a bait, and what they are."""

    name: str
    """The bait's."""
    chain: Chain
    data: bytes


@lru_cache(maxsize=1)
def needles(baits: tuple[Bait, ...]) -> tuple[Needle, ...]:
    """Give every form of every bait that is searched as it stands; kept, as search and redaction both ask for it.

    Args:
        baits: Values that are too short or too plain to be proof give none.

    Returns:
        Each form once, in a fixed order.
    """
    return tuple(
        dict.fromkeys(
            Needle(bait.name, chain, data)
            for bait in baits
            for value in values(bait.value)
            for chain, data in forms(value)
        )
    )


def xor_needles(known: Sequence[Needle]) -> tuple[Needle, ...]:
    """Give the forms that are also searched below a single-byte xor; their chains do not name the xor.

    Args:
        known: What `needles` gives.

    Returns:
        Forms as they are before the xor.
    """
    below = ((), ("reversed",), ("hex",), ("base64",), ("base32",))
    return tuple(needle for needle in known if needle.chain in below)


def values(value: str) -> list[bytes]:
    """Give the pieces of a value that are each proof: its unique key lines when it has several, else all of it.

    Args:
        value: Of a bait.

    Returns:
        Pieces long enough to be unique.
    """
    value = value.strip()
    lines = [line.strip() for line in value.splitlines()]
    keys = [line for line in lines if _LINE.fullmatch(line) and not line.startswith(_NOT_UNIQUE)]
    if len(lines) < 2:  # noqa: PLR2004 - one line
        keys = [value]
    # Line breaks are removed from the data too, so the whole of a value that is no key is searched without them.
    pieces = [piece.encode() for piece in keys or [value, "".join(lines)]]
    return [piece for piece in pieces if len(piece) >= MIN_LENGTH and len(set(piece)) >= MIN_DIFFERENT]


def forms(value: bytes) -> Iterator[_Form]:
    """Yield the forms of a value that are found without decoding.

    Args:
        value: At least `MIN_LENGTH` bytes.

    Yields:
        The chain of encodings and the bytes that stand for the value alone, whatever surrounds it.
    """
    text = value.decode("latin-1")
    yield (), value
    yield ("rot13",), _rot13(value)
    yield ("utf16",), text.encode("utf-16-le")
    yield ("utf16",), text.encode("utf-16-be")
    yield ("reversed",), value[::-1]
    for chain, data in _armoured(value):
        yield chain, data
        yield ("reversed", *chain), data[::-1]
        if chain == ("base64",):
            yield ("rot13", *chain), _rot13(data)
    yield from _base85(value)


def _armoured(value: bytes) -> Iterator[_Form]:
    yield ("hex",), value.hex().encode()
    yield ("hex",), value.hex().upper().encode()
    for shift in range(5):
        data = _aligned(value, shift, 5, base64.b32encode)
        yield ("base32",), data
        yield ("base32",), data.lower()
    for shift in range(3):
        yield ("base64",), _aligned(value, shift, 6, base64.b64encode)
        yield ("base64",), _aligned(value, shift, 6, base64.urlsafe_b64encode)


def _rot13(data: bytes) -> bytes:
    return data.translate(_ROT13)


def _base85(value: bytes) -> Iterator[_Form]:
    """The two usual alphabets: four bytes make five characters, whatever stands around these four."""
    for shift in range(4):
        whole = value[shift : shift + (len(value) - shift) // 4 * 4]
        if len(whole) >= MIN_LENGTH:
            encoded = base64.b85encode(whole)
            yield ("base85",), encoded
            # The same digits, but for zeros, of which Ascii85 has a short form.
            yield ("base85",), base64.a85encode(whole) if b"\0" in whole else encoded.translate(_ASCII85)


def _aligned(value: bytes, shift: int, bits: int, encode: Callable[[bytes], bytes]) -> bytes:
    """The characters that encode `value` alone when `shift` bytes stand before it, whatever stands around it."""
    encoded = encode(bytes(shift) + value)
    return encoded[-(-8 * shift // bits) : 8 * (shift + len(value)) // bits]
