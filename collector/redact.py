"""Takes the values of bait out of everything that leaves the bundle, and bounds what is quoted."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from collector.bait import MIN_LENGTH
from collector.bait.match import Matcher
from collector.bait.needles import Needle, needles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from collector.manifest import Bait

EXCERPT: Final = 2000
"""Longest string quoted from a package, in characters."""
_SHORTEST_LINE: Final = 16
"""A line of a longer secret that is shorter than this says nothing (`[default]`)."""
_UNQUOTED: Final = re.compile(r"[A-Za-z0-9_.~-]*")
"""What percent-encoding leaves as it is."""

_S = TypeVar("_S", bound=msgspec.Struct)


def mark(name: str) -> str:
    """Return what stands in a report instead of the value of the bait `name`."""
    return f"\u2039bait:{name}\u203a"


def excerpt(text: str, limit: int = EXCERPT) -> str:
    """Return `text`, cut to `limit` characters with a note of how many more there were."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… (+{len(text) - limit} characters)"


class _Form(NamedTuple):
    text: str
    name: str


@dataclass(frozen=True, slots=True)
class Redactor:
    """Replaces each bait value by a mark with the bait's name, however the text around it is quoted.

    Found are the value itself and its lines when it has several, as they are, escaped as in JSON, and
    percent-encoded, and the encodings that are searched as they stand (`collector.bait.needles`), whose marks name
    them; letters match in either case, as a name server's log has them. Values shorter than `MIN_LENGTH` are not
    searched, here as in the search for bait: they prove nothing and stand in every text.
    """

    forms: Mapping[str, set[_Form]]
    """By what they are in lower case."""
    matcher: Matcher

    @classmethod
    def of(cls, baits: Iterable[Bait]) -> Redactor:
        """Make the redactor for the bait of one bundle."""
        known = tuple(baits)
        forms: defaultdict[str, set[_Form]] = defaultdict(set)
        for form in (*_plain(known), *_encoded(known)):
            forms[form.text.lower()].add(form)
        return cls(forms, Matcher([Needle(lowered, (), lowered.encode()) for lowered in forms]))

    def text(self, text: str) -> str:
        """Return `text` without bait values."""
        # Nearly all texts hold no bait, and that is told fast.
        if not (seen := self._seen(text)):
            return text
        found = {form for lowered in seen for form in self.forms[lowered]}
        # The longest first: a value that contains another one must win.
        ordered = sorted(found, key=lambda form: (-len(form.text), form))
        pattern = "|".join(f"({re.escape(form.text)})" for form in ordered)
        return re.sub(pattern, lambda match: mark(ordered[(match.lastindex or 1) - 1].name), text, flags=re.IGNORECASE)

    def struct(self, value: _S) -> _S:
        """Return `value`, or a copy, in which no string, however deep, holds a bait value or what UTF-8 cannot."""
        plain = msgspec.to_builtins(value)
        together = "\n".join(_strings(plain))
        # That nothing is in any of a thousand strings is told at once.
        if _is_unicode(together) and not self._seen(together):
            return value
        return msgspec.convert(self._walk(plain), type(value))

    def _seen(self, text: str) -> set[str]:
        """Which forms, in lower case, stand in a text."""
        return {match.needle.name for match in self.matcher.matches(text.lower().encode("utf-8", "surrogatepass"))}

    def _walk(self, value: object) -> object:
        match value:
            case str():
                # A name that is no Unicode comes as lone surrogates, which no JSON can hold.
                return self.text(value.encode("utf-8", "backslashreplace").decode())
            case dict():
                return {self._walk(key): self._walk(item) for key, item in value.items()}
            case list() | tuple():
                return [self._walk(item) for item in value]
            case _:
                return value


def _strings(value: object) -> Iterator[str]:
    """Every string of a value, however deep."""
    match value:
        case str():
            yield value
        case dict():
            for key, item in value.items():
                yield from _strings(key)
                yield from _strings(item)
        case list() | tuple():
            for item in value:
                yield from _strings(item)
        case _:
            pass


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(value: str) -> set[str]:
    whole = value.strip()
    lines = {line.strip() for line in whole.splitlines() if len(line.strip()) >= _SHORTEST_LINE and "-----" not in line}
    plain = {text for text in (whole, *lines) if len(text) >= MIN_LENGTH}
    return plain | {json.dumps(text)[1:-1] for text in plain} | {quote(text, safe="") for text in plain}


def _plain(baits: Iterable[Bait]) -> Iterator[_Form]:
    return (_Form(text, bait.name) for bait in baits for text in _texts(bait.value))


def _encoded(baits: tuple[Bait, ...]) -> Iterator[_Form]:
    """What stands for a value in an encoding, also percent-encoded; the name is the bait's with the encoding's."""
    for needle in needles(baits):
        if needle.chain and needle.chain != ("utf16",):
            text = needle.data.decode("latin-1")
            name = f"{needle.name}/{'+'.join(needle.chain)}"
            yield _Form(text, name)
            if not _UNQUOTED.fullmatch(text):
                yield _Form(quote(text, safe=""), name)
