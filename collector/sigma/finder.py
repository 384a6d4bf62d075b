"""Finds the pieces that conditions need in the texts of a field, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import ahocorasick

from collector.sigma.view import as_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.sigma.needs import Need
    from collector.sigma.view import Value

_REMEMBERED: Final = 4096
"""Values whose answer is remembered."""
_SHORT: Final = 512
"""Longest text that is remembered, in characters."""
_EDGE: Final = "\0"
"""Stands before and after a text, so that where a piece must stand is a part of it. A text that has it itself only
leads to more being tried."""
NOTHING: Final[frozenset[int]] = frozenset()


class Finder:
    """From the value of one field to the numbers of the selections that want to see the event."""

    def __init__(self, wanted: Mapping[Need, set[int]]) -> None:
        """Take what is looked for, and the numbers of the selections that need it."""
        self._whole = {need.text: frozenset(numbers) for need, numbers in wanted.items() if need.first and need.last}
        by_word: dict[str, set[int]] = {}
        for need, numbers in wanted.items():
            if not (need.first and need.last):
                by_word.setdefault(_EDGE * need.first + need.text + _EDGE * need.last, set()).update(numbers)
        self._pieces = ahocorasick.Automaton()
        for word, numbers in by_word.items():
            self._pieces.add_word(word, frozenset(numbers))
        self._pieces.make_automaton()
        self._has_pieces = bool(by_word)

    def find(self, value: Value) -> frozenset[int]:
        """Give the numbers of the selections that need something which stands in a value."""
        if isinstance(value, str):
            return self._find(value.lower())
        return NOTHING.union(*(self._find(text.lower()) for text in as_texts(value)))

    def _find(self, folded: str) -> frozenset[int]:
        found = self._whole.get(folded, NOTHING)
        if self._has_pieces:
            for _, numbers in self._pieces.iter(f"{_EDGE}{folded}{_EDGE}"):
                found = found | numbers
        return found


class Remembering(dict["Value", frozenset[int]]):
    """The same for a field that has few values, which come again and again; it fills itself."""

    def __init__(self, finder: Finder) -> None:
        super().__init__()
        self._finder = finder

    def __missing__(self, value: Value) -> frozenset[int]:
        answer = self._finder.find(value)
        if sum(map(len, as_texts(value))) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[value] = answer
        return answer
