"""Puts together again what was sent in pieces over several messages of one process, or to one peer."""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from collector.bait import MIN_LENGTH

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from collector.bait import BaitScanner
    from collector.records import HttpRecord

MAX_JOINED: Final = 4 << 20
"""Bytes of pieces that are put together; what comes later is searched by itself alone."""
_MOST_SLOTS: Final = 64
"""Fields of one message that are looked at."""
_MOST_DEPTH: Final = 4
_FORM: Final = re.compile(rb"[\w.%+\[\]-]{1,100}=[^\r\n]*\Z")
_NUMBERED: Final = re.compile(rb"\W{0,2}(\d{1,6})(?:/\d{1,6})?[:;,|. _-](?=.)", re.DOTALL)
_NUMBER: Final = re.compile(rb"\d{1,6}")

_EACH: Final = (
    ("base64", re.compile(rb"[A-Za-z0-9+/_-]{2,}"), 4, base64.urlsafe_b64decode),
    ("base32", re.compile(rb"[A-Z2-7]{2,}"), 8, base64.b32decode),
)
"""Encodings of single pieces: their name, their alphabet, the characters of a whole group, what decodes them."""

_Piece: TypeAlias = tuple[int, bytes]
"""A message's number, and the piece in it."""


class Parts(NamedTuple):
    """A message taken apart."""

    slots: dict[str, bytes]
    """Parts by where they stand in it: the same field of each message."""
    whole: bool
    """It has no more fields than are looked at."""


@dataclass(frozen=True, slots=True)
class Message:
    """What of a message may be a piece."""

    groups: tuple[Hashable, ...]
    """Messages that share one of these may belong together: a peer, a process."""
    parts: Parts


_NOTHING: Final = Parts({}, whole=True)


def of_request(record: HttpRecord) -> Parts:
    """Take a request apart: fields of its query, headers, last part of its path, and its body."""
    path, _, query = record.target.partition("?")
    asked, body = _form("query", query.encode()), of_payload(record.body)
    headers = {f"header {name.lower()}": value.encode() for name, value in record.headers[:_MOST_SLOTS]}
    return Parts(
        {"path": path.rpartition("/")[2].encode(), **asked.slots, **headers, **body.slots},
        asked.whole and body.whole and len(record.headers) <= _MOST_SLOTS,
    )


def of_payload(body: bytes) -> Parts:
    """Take a body, a packet or the bytes of a connection apart, when it is JSON, a form, or has a number in front."""
    found = _NOTHING
    if body[:1] in {b"{", b"["}:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = _leaves("json", msgspec.json.decode(body), _MOST_DEPTH)
    elif _FORM.match(body):
        found = _form("form", body)
    slots = {"body": body, **found.slots}
    if match := _NUMBERED.match(body):
        slots |= {"number": match[1], "rest": body[match.end() :]}
    return Parts(slots, found.whole)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in several messages together."""

    bait: tuple[frozenset[str], ...]
    """For each message, the `name/encoding` of the baits that it carried a part of."""
    whole: bool
    """All pieces were looked at, in all fields."""


def search(messages: Sequence[Message], scanner: BaitScanner) -> Found:
    """Find bait that stands in several messages together.

    Args:
        messages: In order of time.
        scanner: For the run's bait.
    """
    found: list[set[str]] = [set() for _ in messages]
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, message in enumerate(messages):
        for group in message.groups:
            members[group].append(number)
    whole = True
    # Often a process speaks to one peer, and both make the same group.
    for group in dict.fromkeys(map(tuple, members.values())):
        if len(group) == 1:
            continue
        whole &= all(messages[number].parts.whole for number in group)
        for order in _orders(group, messages):
            for pieces in _slots(order, messages):
                whole &= sum(len(piece) for _, piece in pieces) <= MAX_JOINED
                for label, numbers in (*_hits(pieces, scanner), *_hits_in_decoded(pieces, scanner)):
                    for number in numbers:
                        found[number].add(label)
    return Found(tuple(map(frozenset, found)), whole)


def _slots(order: Sequence[int], messages: Sequence[Message]) -> Iterator[list[_Piece]]:
    """Yield the pieces in each slot, as often as they were sent, and then without repetitions."""
    slots: defaultdict[str, list[_Piece]] = defaultdict(list)
    for number in order:
        for slot, piece in messages[number].parts.slots.items():
            if piece:
                slots[slot].append((number, piece))
    for pieces in slots.values():
        once = [next(same) for _, same in groupby(pieces, key=lambda piece: piece[1])]
        # What is always the same is no piece of anything.
        if len(once) > 1:
            yield pieces
            if len(once) < len(pieces):
                yield once


def _hits(pieces: Sequence[_Piece], scanner: BaitScanner) -> Iterator[tuple[str, list[int]]]:
    """Yield the baits that stand in more than one piece, with the messages that these are from."""
    ends = list(accumulate(len(piece) for _, piece in pieces))
    kept = bisect_right(ends, MAX_JOINED)
    if kept < 2 or ends[kept - 1] < MIN_LENGTH:  # noqa: PLR2004 - several
        return
    places = {
        (hit.label, bisect_right(ends, hit.start), bisect_right(ends, hit.end - 1))
        for hit in scanner.hits(b"".join(piece for _, piece in pieces[:kept]))
    }
    for label, first, last in sorted(places):
        if first < last:
            yield label, [number for number, _ in pieces[first : last + 1]]


def _hits_in_decoded(pieces: Sequence[_Piece], scanner: BaitScanner) -> Iterator[tuple[str, list[int]]]:
    """The same for pieces that were each encoded by itself, so that they only fit together once they are decoded."""
    for name, pattern, characters, decode in _EACH:
        texts = [piece.rstrip(b"=") for _, piece in pieces]
        # Whole groups of characters fit together as they are.
        if all(map(pattern.fullmatch, texts)) and any(len(text) % characters for text in texts[:-1]):
            with suppress(ValueError):
                padded = [text + b"=" * (-len(text) % characters) for text in texts]
                decoded = [(number, decode(text)) for (number, _), text in zip(pieces, padded, strict=True)]
                for label, numbers in _hits(decoded, scanner):
                    bait, _, below = label.rpartition("/")
                    yield f"{bait}/{name}" + (f"+{below}" if below != "plain" else ""), numbers


def _orders(group: Sequence[int], messages: Sequence[Message]) -> Iterator[Sequence[int]]:
    """Messages as they came and, when they carry different numbers in some slot, by number."""
    yield group
    for slot in messages[group[0]].parts.slots:
        values = [messages[number].parts.slots.get(slot, b"") for number in group]
        if all(map(_NUMBER.fullmatch, values)):
            ordered = [number for _, number in sorted(zip(map(int, values), group, strict=True))]
            if ordered != list(group):
                yield ordered
                return


def _form(where: str, text: bytes) -> Parts:
    fields = text.split(b"&", _MOST_SLOTS)
    found = parse_qsl(b"&".join(fields[:_MOST_SLOTS]).decode("latin-1"), encoding="latin-1")
    slots = {f"{where} {name}": value.encode("latin-1", "replace") for name, value in found}
    return Parts(slots, len(fields) <= _MOST_SLOTS)


def _leaves(where: str, value: object, depth: int) -> Parts:
    match value:
        case str():
            return Parts({where: value.encode()}, whole=True)
        case int():
            return Parts({where: str(value).encode()}, whole=True)
        case dict():
            items: Iterable[tuple[object, object]] = value.items()
        case list():
            items = enumerate(value)
        case _:
            return _NOTHING
    kept = list(islice(items, _MOST_SLOTS)) if depth else []
    parts = [_leaves(f"{where} {name}", item, depth - 1) for name, item in kept]
    slots = {slot: piece for part in parts for slot, piece in part.slots.items()}
    return Parts(slots, len(kept) == len(value) and all(part.whole for part in parts))
