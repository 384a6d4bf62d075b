"""Looks for thousands of needles at once, in one pass over the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import ahocorasick
import re2

from collector.bait.needles import Needle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CORE: Final = 8
"""Bytes of each needle that the first look asks for."""
_MEMORY: Final = 64 << 20
"""Bytes that the first look may use for its states; enough for all of them, so that it never falls back."""


class Match(NamedTuple):
    """A needle and where it stands."""

    needle: Needle
    start: int
    end: int


class Matcher:
    """All needles as one automaton.

    Nearly all data holds none. Whether it holds the middle of any is asked of RE2, which is some twenty times as fast
    as the Aho-Corasick automaton that then says which, and where, overlapping ones included. Both are linear in the
    data, whatever it is.
    """

    def __init__(self, needles: Sequence[Needle]) -> None:
        """Prepare the search; the second look only when it is needed.

        Args:
            needles: Any number, each of at least `MIN_LENGTH` bytes.
        """
        self._needles: dict[bytes, list[Needle]] = {}
        for needle in needles:
            self._needles.setdefault(needle.data, []).append(needle)
        self._first_look = _first_look(self._needles)
        self._automaton: ahocorasick.Automaton | None = None

    def matches(self, data: bytes) -> Iterator[Match]:
        """Yield every needle that stands in `data`, as often as it does, in the order of their ends."""
        if not self._first_look.Match(data):
            return
        if self._automaton is None:
            self._automaton = self._build()
        # The wheel's automaton works on text: each byte is the character of its number.
        for last, found in self._automaton.iter(data.decode("latin-1")):
            for needle in found:
                yield Match(needle, last + 1 - len(needle.data), last + 1)

    def _build(self) -> ahocorasick.Automaton:
        automaton = ahocorasick.Automaton()
        for data, needles in self._needles.items():
            automaton.add_word(data.decode("latin-1"), tuple(needles))
        automaton.make_automaton()
        return automaton


class XorMatcher:
    """Finds needles below a xor with one and the same byte, whichever it is, in one pass.

    The xor of two neighbours stays the same when both are xored with the same byte. So the neighbours' xor of the
    needles is looked for in the neighbours' xor of the data.
    """

    def __init__(self, needles: Sequence[Needle]) -> None:
        """Prepare the search.

        Args:
            needles: As they are before the xor.
        """
        self._matcher = Matcher([Needle(needle.name, needle.chain, neighbours(needle.data)) for needle in needles])
        self._plain = frozenset(needle.data for needle in needles)

    def matches(self, data: bytes) -> Iterator[Match]:
        """Yield every needle that stands in `data` below a xor with another byte than 0."""
        for match in self._matcher.matches(neighbours(data)):
            if data[match.start : match.end + 1] not in self._plain:
                yield match._replace(end=match.end + 1)


def neighbours(data: bytes) -> bytes:
    """Give the xor of each byte with the one after it: one byte less than `data`, none for none."""
    if len(data) < 2:  # noqa: PLR2004 - nobody has a neighbour
        return b""
    number = int.from_bytes(data, "big")
    return (number ^ number >> 8).to_bytes(len(data), "big")[1:]


def _middle(data: bytes) -> bytes:
    """The middle of a needle: values of a kind share how they begin, and some how they end."""
    start = max(len(data) - _CORE, 0) // 2
    return data[start : start + _CORE]


def latin1(pattern: bytes) -> re2._Regexp:
    """Compile a pattern that matches bytes in time linear in the data, whatever it holds."""
    return re2.compile(pattern, _options())


def _first_look(needles: Iterable[bytes]) -> re2.Set:
    """Compile the middles of needles: a set of one pattern, as that is ready in half the time of a lone pattern."""
    cores = re2.Set.SearchSet(_options())
    if middles := sorted(set(map(_middle, needles))):
        cores.Add(b"|".join(map(re2.escape, middles)))
    cores.Compile()
    return cores


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _MEMORY
    return options
