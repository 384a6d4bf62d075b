"""Decodes bytes that were written as text: base64, base32, hexadecimal and decimal numbers, UTF-16."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.bait.blob import PIECE, Blob, Budget, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.bait.needles import Chain

    Decode = Callable[[bytes], Iterator[bytes]]
    """Gives what a run of an alphabet stands for, at each alignment."""

_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_BASE32_DIGITS: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")
_NOT_DIGITS: Final = re.compile(rb"\\x|0x|[^0-9a-fA-F]")
_NUMBER: Final = re.compile(rb"[0-9]+")
_UTF16: Final = re.compile(rb"(?:[\t\n\r -~]\0){12,}")
_PAIRS: Final = bytes(
    98 if byte == 0 else 97 if byte in b"\t\n\r" or 32 <= byte < 127 else 99  # noqa: PLR2004 - printable
    for byte in range(256)
)


def decoded(text: Blob, budget: Budget, *, first: bool, last: bool) -> Iterator[tuple[Chain, Blob]]:
    """Yield what the runs of each alphabet stand for, at every alignment.

    Args:
        text: Text to look at.
        budget: Of the message.
        first: No encoding is around the text: its runs may also have been reversed.
        last: Below it only values as they are count, so that what is searched as it stands need not be decoded.
    """
    for decoder in _DECODERS:
        if last and decoder.decode in _SEARCHED:
            continue
        # Looking for a run of a class of characters is quick once they all are the same one.
        if b"a" * decoder.shortest not in text.data.translate(decoder.alphabet):
            continue
        runs = [match.span() for match in decoder.runs.finditer(text.data)]
        yield (decoder.name,), _all(text, runs, decoder.decode, budget, step=1)
        if first and decoder.decode in _SEARCHED:
            yield ("reversed", decoder.name), _all(text, runs, decoder.decode, budget, step=-1)


def utf16(blob: Blob, budget: Budget) -> Iterator[tuple[Chain, Blob]]:
    """Yield the text that is written with two bytes a character."""
    if b"ab" * 12 in blob.data.translate(_PAIRS):
        runs = [match.span() for match in _UTF16.finditer(blob.data)]
        yield ("utf16",), _all(blob, runs, lambda run: iter((run[::2],)), budget, step=1)


def _all(text: Blob, runs: list[Span], decode: Decode, budget: Budget, *, step: int) -> Blob:
    """Decode every run, forwards or (`step` -1) backwards, as far as the budget goes."""
    made: list[tuple[Span, bytes]] = []
    for start, end in runs:
        root = text.root(start, end)
        for piece in decode(text.data[start:end][::step]):
            if not budget.spend(len(piece) + PIECE):
                return Blob.made(made)
            made.append((root, piece))
    return Blob.made(made)


def _base64(run: bytes) -> Iterator[bytes]:
    run = run.translate(_STANDARD)
    for shift in range(4):
        # A last character alone stands for nothing.
        size = len(run) - shift
        piece = run[shift : len(run) - (size % 4 == 1)]
        yield binascii.a2b_base64(piece + b"=" * (-len(piece) % 4))


def _base32(run: bytes) -> Iterator[bytes]:
    digits = run.upper().translate(_BASE32_DIGITS)
    for shift in range(8):
        # Python reads numbers of base 32 much faster than its base64 module does.
        bits = 5 * (len(run) - shift)
        yield (int(digits[shift:], 32) >> bits % 8).to_bytes(bits // 8, "big")


def _hex(run: bytes) -> Iterator[bytes]:
    for shift in range(2):
        yield binascii.a2b_hex(run[shift : shift + (len(run) - shift) // 2 * 2])


def _spaced_hex(run: bytes) -> Iterator[bytes]:
    yield binascii.a2b_hex(_NOT_DIGITS.sub(b"", run))


def _decimal(run: bytes) -> Iterator[bytes]:
    yield bytes(min(int(number), 255) for number in _NUMBER.findall(run))


class _Decoder(NamedTuple):
    name: str
    runs: re.Pattern[bytes]
    """What may be this encoding; long enough that it seldom is anything else."""
    decode: Decode
    """Gives what a run stands for, at each alignment."""
    shortest: int
    """Characters of the shortest run."""
    alphabet: bytes
    """Translates the alphabet's characters to `a`."""

    @classmethod
    def of(cls, name: str, runs: bytes, decode: Decode, shortest: int, chars: bytes) -> _Decoder:
        """Prepare a decoder; `chars` is the inside of a class of characters."""
        one = re.compile(rb"[%b]" % chars)
        alphabet = bytes(97 if one.match(bytes([byte])) else 0 for byte in range(256))
        return cls(name, re.compile(runs), decode, shortest, alphabet)


_DECODERS: Final = (
    _Decoder.of("base64", rb"[A-Za-z0-9+/_-]{16,}", _base64, 16, rb"A-Za-z0-9+/_-"),
    _Decoder.of("base32", rb"[A-Z2-7]{24,}", _base32, 24, rb"A-Z2-7"),
    _Decoder.of("base32", rb"[a-z2-7]{24,}", _base32, 24, rb"a-z2-7"),
    _Decoder.of("hex", rb"[0-9a-fA-F]{24,}", _hex, 24, rb"0-9a-fA-F"),
    _Decoder.of("hex", rb"(?:[0-9a-fA-F]{2}[:, -]{1,2}){11,}[0-9a-fA-F]{2}", _spaced_hex, 35, rb"0-9a-fA-F:, -"),
    _Decoder.of("hex", rb"(?:(?:\\x|0x)[0-9a-fA-F]{2}[, ]{0,2}){12,}", _spaced_hex, 48, rb"0-9a-fA-F\\x, "),
    _Decoder.of("decimal", rb"(?:[0-9]{1,3}[, ]{1,2}){11,}[0-9]{1,3}", _decimal, 23, rb"0-9, "),
)
_SEARCHED: Final = frozenset({_base64, _base32, _hex})
"""Encodings of which `needles` knows the forms, reversed ones too."""
