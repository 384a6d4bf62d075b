"""Finds the run's planted secrets in bytes that left the pod, in the forms they are usually sent in.

A bait value is unique to the run, so one match is proof. What is searched is precomputed once: for every value its
plain, base64, base32, hex and reversed forms. Decoding (percent-encoding, line breaks inside base64) is done on the
data instead: `_views` gives the data as sent and as a receiver would read it. Deeper decoding (gzip, chains) belongs
there too: one more view, with a name for what it undid.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from collector.labels import joins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from collector.manifest import Bait

MIN_LENGTH: Final = 8
"""Values with fewer bytes could stand in anything by chance and are not searched."""
_LINE: Final = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
"""A line of a key file that is proof by itself."""
_NOT_UNIQUE: Final = ("-----", "b3BlbnNzaC1rZXktdjEA")
"""Beginnings of key lines that every key shares: PEM's frame, and OpenSSH's header for unencrypted keys."""
_BREAKS: Final = re.compile(rb"[\r\n]+|(?:\\[rn])+")
_FOLDING: Final = frozenset({"hex", "base32"})
"""Encodings that both upper and lower case stand for."""


@dataclass(frozen=True, slots=True)
class _Needle:
    label: str
    """`name/encoding`."""
    data: bytes
    folds: bool
    """Searched in the lower-cased data; `data` is lower case."""


class BaitScanner:
    """Searches bytes and DNS names for the baits of one run."""

    def __init__(self, baits: Sequence[Bait]) -> None:
        """Prepare the search.

        Args:
            baits: The run's baits; values shorter than `MIN_LENGTH` bytes are not searched.
        """
        self._needles = tuple(dict.fromkeys(needle for bait in baits for needle in _needles(bait)))
        # The gateway writes names in lower case, and dots may stand anywhere.
        self._folded = tuple(
            dict.fromkeys((needle.label, needle.data.lower().replace(b".", b"")) for needle in self._needles)
        )
        self._spaces = any(b" " in needle.data for needle in self._needles)

    def scan(self, data: bytes) -> tuple[str, ...]:
        """Find baits in bytes.

        Args:
            data: What was sent, as sent.

        Returns:
            Sorted `name/encoding`, each once; encodings are plain, base64, base32, hex, url and reversed.
        """
        found: set[str] = set()
        for undone, view in _views(data, spaces=self._spaces):
            lower = view.lower()
            for needle in self._needles:
                if needle.data in (lower if needle.folds else view):
                    name, _, encoding = needle.label.rpartition("/")
                    if encoding != "plain":
                        found.add(needle.label)
                    elif needle.label not in found:
                        found.add(f"{name}/{undone}")
        return tuple(sorted(found))

    def scan_labels(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Find baits in DNS names: in one name, or cut in pieces over many names below one parent.

        Args:
            names: The names asked for in the order of asking, lower case, repetitions included.

        Returns:
            For each name, in the same order, the sorted `name/encoding` of the baits it carried (a part of).
        """
        found: dict[str, set[str]] = {name: set(self.scan(name.encode())) for name in dict.fromkeys(names)}
        for join in joins(tuple(found)):
            text = join.text.encode()
            for label, data in self._folded:
                start = text.find(data)
                while start >= 0:
                    for name in join.owners(len(text[:start].decode()), len(text[: start + len(data)].decode())):
                        found[name].add(label)
                    start = text.find(data, start + 1)
        return tuple(tuple(sorted(found[name])) for name in names)


def _views(data: bytes, *, spaces: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the data as sent and as read after undoing what transports add; with the name of what was undone.

    Args:
        data: What was sent.
        spaces: Whether a bait holds a space, which forms write as `+`.
    """
    yield "plain", data
    if (joined := _joined(data)) != data:
        yield "plain", joined
    if b"%" in data or (spaces and b"+" in data):
        decoded = unquote_to_bytes(data)
        yield "url", _joined(decoded)
        if spaces and b"+" in data:
            yield "url", _joined(unquote_to_bytes(data.replace(b"+", b" ")))


def _joined(data: bytes) -> bytes:
    """Undo line breaks (also as JSON writes them) and JSON's optional escape of the slash."""
    return _BREAKS.sub(b"", data).replace(b"\\/", b"/")


def _needles(bait: Bait) -> Iterator[_Needle]:
    for part in _parts(bait.value):
        value = part.encode()
        if len(value) < MIN_LENGTH:
            continue
        for encoding, data in _forms(value):
            folds = encoding in _FOLDING
            yield _Needle(f"{bait.name}/{encoding}", data.lower() if folds else data, folds)


def _parts(value: str) -> list[str]:
    """The pieces of a value that are each proof: its unique key lines when it has several lines, else all of it."""
    value = value.strip()
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) < 2:  # noqa: PLR2004 - one line
        return [value]
    keys = [line for line in lines if _LINE.fullmatch(line) and not line.startswith(_NOT_UNIQUE)]
    # Line breaks are removed from the data too, so the whole of a value that is no key is searched without them.
    return keys or [value, "".join(lines)]


def _forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield "plain", value
    yield "reversed", value[::-1]
    yield "hex", value.hex().encode()
    for shift in range(3):
        yield "base64", _aligned(value, shift, 6, base64.b64encode)
        yield "base64", _aligned(value, shift, 6, base64.urlsafe_b64encode)
    for shift in range(5):
        yield "base32", _aligned(value, shift, 5, base64.b32encode)


def _aligned(value: bytes, shift: int, bits: int, encode: Callable[[bytes], bytes]) -> bytes:
    """The characters that encode `value` alone when `shift` bytes stand before it, whatever stands around it."""
    encoded = encode(bytes(shift) + value)
    return encoded[-(-8 * shift // bits) : 8 * (shift + len(value)) // bits]
