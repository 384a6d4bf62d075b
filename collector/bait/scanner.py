"""Finds the run's planted secrets in bytes that left the pod, below up to three encodings.

A bait value is unique to the run, so one match is proof. Nothing is decoded for the usual forms: they are searched as
they stand, all at once (`match`). What plausibly is encoded is then decoded and searched in the same way (`armour`,
`unpack`, `xor`), within a budget: what is beyond it is told, never passed over in silence.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.bait.armour import decoded, utf16
from collector.bait.blob import Blob, Budget
from collector.bait.match import Matcher, XorMatcher
from collector.bait.needles import Needle, needles, values, xor_needles
from collector.bait.transport import readings, text_of
from collector.bait.unpack import members
from collector.bait.xor import unxored
from collector.labels import joins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.bait.needles import Chain
    from collector.manifest import Bait

DEPTH: Final = 3
"""Encodings, one in the other, below which a value is found."""
MESSAGE_BUDGET: Final = 16 << 20
"""Bytes that may be made of one message while it is decoded."""
RUN_BUDGET: Final = 128 << 20
"""Bytes that may be made of all messages of a run."""
_SMALL: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_MOST_HITS: Final = 1000
"""Places of each `name/encoding` that are noted in one message: more prove nothing more."""


class Hit(NamedTuple):
    """A bait in a message."""

    label: str
    """`name/encoding`, e.g. `aws-secret-access-key/base64+gzip`: the outermost encoding first."""
    start: int
    """Where in the message the bait stands, or what it was decoded from."""
    end: int


class BaitScanner:
    """Searches bytes and DNS names for the baits of one run."""

    def __init__(
        self, baits: Sequence[Bait], *, message_budget: int = MESSAGE_BUDGET, run_budget: int = RUN_BUDGET
    ) -> None:
        """Prepare the search.

        Args:
            baits: The run's baits; values shorter than `MIN_LENGTH` bytes are not searched.
            message_budget: Bytes that may be made of one message while it is decoded.
            run_budget: Bytes that may be made of all messages together.
        """
        known = needles(tuple(baits))
        self._matcher = Matcher(known)
        self._xor = XorMatcher(xor_needles(known))
        self._spaces = any(b" " in value for bait in baits for value in values(bait.value))
        self._known = known
        self._message_budget = message_budget
        self._left = run_budget
        self.unfinished = 0
        """Messages in which not everything was decoded, because a budget was used up."""

    def scan(self, *parts: bytes) -> tuple[str, ...]:
        """Find baits in a message.

        Args:
            parts: What was sent, as sent; in parts where it had some (a request's head and body).

        Returns:
            Sorted `name/encoding`, each once. An encoding is `plain`, or names joined with `+`, the outermost first.
        """
        return tuple(sorted({hit.label for hit in self.hits(*parts)}))

    def hits(self, *parts: bytes) -> tuple[Hit, ...]:
        """Find baits in a message, with their places.

        Args:
            parts: What was sent, as sent. Places count in them as if `GAP` stood between them.

        Returns:
            Hits in a fixed order, each once.
        """
        if not self._known:
            return ()
        budget = Budget(min(self._message_budget, self._left))
        allowed = budget.left
        found: dict[Hit, None] = {}
        places: defaultdict[str, int] = defaultdict(int)
        for hit in self._search(Blob.message(parts), (), budget):
            # By label: else what proves little, sent ten thousand times, would hide what proves theft.
            if places[hit.label] < _MOST_HITS and hit not in found:
                found[hit] = None
                places[hit.label] += 1
        self._left -= allowed - budget.left
        self.unfinished += budget.exceeded
        return tuple(found)

    def scan_as_it_stands(self, parts: Sequence[bytes]) -> tuple[tuple[str, ...], ...]:
        """Find baits in many short texts, in the forms that need no decoding.

        Args:
            parts: For example command lines.

        Returns:
            For each, in the same order, the sorted `name/encoding` of the baits in it.
        """
        blob = Blob.message(parts)
        found: list[set[str]] = [set() for _ in parts]
        for match in self._matcher.matches(blob.data):
            found[bisect_right(blob.starts, match.start) - 1].add(_label(match.needle, ()))
        return tuple(tuple(sorted(labels)) for labels in found)

    def scan_labels(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Find baits in DNS names: in one name, or cut in pieces over many names below one parent.

        Args:
            names: The names asked for in the order of asking, as they were sent, repetitions included.

        Returns:
            For each name, in the same order, the sorted `name/encoding` of the baits it carried (a part of).
        """
        found = {name: {label for form in _forms(name) for label in self.scan(form)} for name in dict.fromkeys(names)}
        for join in joins(tuple(found)):
            *_, lowered = forms = _forms(join.text)
            folded = (Hit(_label(match.needle, ()), match.start, match.end) for match in self._folded.matches(lowered))
            for hit in (*folded, *(hit for text in forms for hit in self.hits(text))):
                for name in join.owners(len(lowered[: hit.start].decode()), len(lowered[: hit.end].decode())):
                    found[name].add(hit.label)
        return tuple(tuple(sorted(found[name])) for name in names)

    @cached_property
    def _folded(self) -> Matcher:
        """For names in pieces: the gateway writes them in lower case, and dots may stand anywhere."""
        return Matcher([needle for needle in map(_folded, self._known) if needle.data])

    def _search(self, blob: Blob, chain: Chain, budget: Budget) -> Iterator[Hit]:
        """Yield the hits in a blob and in everything that can be made of it."""
        if not blob.data:
            return
        seen: set[str] = set()
        yield from self._as_it_stands(blob, chain, "", seen)
        for layer, below in self._bytes_below(blob, len(chain), budget):
            yield from self._search(below, (*chain, *layer), budget)
        if (text := text_of(blob)) is None:
            return
        for reading in readings(text, spaces=self._spaces):
            if not reading.sent:
                yield from self._as_it_stands(reading.blob, chain, reading.undone, seen)
            below_it = self._bytes_below(reading.blob, len(chain), budget) if not reading.sent else ()
            text_below = self._text_below(reading.blob, len(chain), budget) if reading.clean else ()
            for layer, below in (*below_it, *text_below):
                yield from self._search(below, (*chain, *layer), budget)

    def _as_it_stands(self, blob: Blob, chain: Chain, undone: str, seen: set[str]) -> Iterator[Hit]:
        """Yield what needs no decoding. `url` is named only for a value that was nowhere seen without it."""
        for match in self._matcher.matches(blob.data):
            needle = match.needle
            label = _label(needle, chain)
            if undone and not needle.chain:
                if label in seen:
                    continue
                label = _label(needle, (*chain, undone))
            seen.add(label)
            yield Hit(label, *blob.root(match.start, match.end))
        if len(chain) < DEPTH:
            for match in self._xor.matches(blob.data):
                yield Hit(_label(match.needle, (*chain, "xor")), *blob.root(match.start, match.end))

    @staticmethod
    def _bytes_below(blob: Blob, depth: int, budget: Budget) -> Iterator[tuple[Chain, Blob]]:
        """Yield what a blob of any bytes decodes to."""
        if depth < DEPTH:
            for name, below in members(blob, budget):
                yield (name,), below
        # The last encoding of text, or a xor, is found as it stands.
        if depth < DEPTH - 1:
            yield from utf16(blob, budget)
            for below in unxored(blob, budget):
                yield ("xor",), below

    @staticmethod
    def _text_below(text: Blob, depth: int, budget: Budget) -> Iterator[tuple[Chain, Blob]]:
        """Yield what the text in a blob decodes to."""
        if depth < DEPTH:
            yield from decoded(text, budget, first=depth == 0, last=depth == DEPTH - 1)


def _label(needle: Needle, chain: Chain) -> str:
    return f"{needle.name}/{'+'.join((*chain, *needle.chain)) or 'plain'}"


def _forms(name: str) -> tuple[bytes, ...]:
    """A name as it was sent, and last in small letters, which keep their places: once where that is the same."""
    return tuple(dict.fromkeys((name.encode(), name.translate(_SMALL).encode())))


def _folded(needle: Needle) -> Needle:
    return Needle(needle.name, needle.chain, needle.data.lower().replace(b".", b""))
