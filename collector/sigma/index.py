"""All selections of a set of rules, arranged so that an event meets only those that it can match.

By kind of event and field, what the selections need (see `collector.sigma.needs`) is in one automaton: a text is gone
through once, however many rules there are. Most values were seen before, and their answer is remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import ahocorasick

from collector.sigma.fields import getters_by_kind
from collector.sigma.view import View, as_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collector.events import AnyEvent, Event
    from collector.sigma.needs import Need
    from collector.sigma.rule import Selection
    from collector.sigma.view import Context, Getter, Value

Hits = list[list[tuple[int, View]]]
"""For each selection the events that it matched: place in the run, and fields."""

_REMEMBERED: Final = 4096
"""Values whose answer each field remembers."""
_SHORT: Final = 512
"""Longest text that is remembered, in characters."""
_FEW: Final = 12
"""With so few selections, trying each is quicker than looking up which."""
_EDGE: Final = "\0"
"""Stands before and after a text, so that where a piece must stand is a part of it. A text that has it itself only
leads to more being tried."""
_NOTHING: Final[frozenset[int]] = frozenset()


class _Finder(dict["Value", frozenset[int]]):
    """From the value of one field to the numbers of the selections that want to see the event; it fills itself."""

    def __init__(self, wanted: Mapping[Need, set[int]]) -> None:
        super().__init__()
        self._whole = {need.text: numbers for need, numbers in wanted.items() if need.first and need.last}
        self._pieces = ahocorasick.Automaton()
        by_word: dict[str, set[int]] = {}
        for need, numbers in wanted.items():
            if not (need.first and need.last):
                word = _EDGE * need.first + need.text + _EDGE * need.last
                by_word.setdefault(word, set()).update(numbers)
        for word, numbers in by_word.items():
            self._pieces.add_word(word, numbers)
        self._pieces.make_automaton()

    def __missing__(self, value: Value) -> frozenset[int]:
        texts = as_texts(value)
        found: set[int] = set()
        for text in texts:
            folded = text.lower()
            found |= self._whole.get(folded, _NOTHING)
            if self._pieces:
                for _, numbers in self._pieces.iter(f"{_EDGE}{folded}{_EDGE}"):
                    found |= numbers
        answer = frozenset(found)
        if len(self) < _REMEMBERED and sum(map(len, texts)) <= _SHORT:
            self[value] = answer
        return answer


class _Plan(NamedTuple):
    """What becomes of the events of one kind."""

    getters: Mapping[str, Getter]
    always: frozenset[int]
    """Selections that no piece speaks for."""
    finders: tuple[tuple[Getter, _Finder], ...]


class RuleIndex:
    """Selections, compiled for a run over many events."""

    def __init__(self, selections: Sequence[Selection], *, few: int = _FEW) -> None:
        """Arrange selections.

        Args:
            selections: What is looked for.
            few: Up to so many selections for a kind are tried one after the other.
        """
        self._predicates = tuple(selection.predicate for selection in selections)
        self._plans = {kind: _plan(kind, getters, selections, few) for kind, getters in getters_by_kind().items()}

    def evaluate(self, events: Iterable[AnyEvent], context: Context) -> Hits:
        """Find what each selection matches.

        Args:
            events: Events in order of time.
            context: What fields need beside the events.

        Returns:
            For each selection, in the order given, its events in their order.
        """
        predicates, plans = self._predicates, self._plans
        hits: Hits = [[] for _ in predicates]
        for position, event in enumerate(events):
            getters, wanted, finders = plans[type(event)]
            for get, finder in finders:
                if more := finder[get(event, context)]:
                    wanted = wanted | more if wanted else more
            if not wanted:
                continue
            view = View(event, context, getters)
            for number in wanted:
                if predicates[number](view):
                    hits[number].append((position, view))
        return hits


def _plan(kind: type[Event], getters: Mapping[str, Getter], selections: Sequence[Selection], few: int) -> _Plan:
    of_kind = [number for number, selection in enumerate(selections) if kind in selection.kinds]
    if len(of_kind) <= few:
        return _Plan(getters, frozenset(of_kind), ())
    always: set[int] = set()
    fields: dict[str, dict[Need, set[int]]] = {}
    for number in of_kind:
        needs = selections[number].needs
        if needs is None:
            always.add(number)
            continue
        for need in needs:
            # A kind without the field has nothing in it.
            if need.field in getters:
                fields.setdefault(need.field, {}).setdefault(need, set()).add(number)
    finders = tuple((getters[field], _Finder(wanted)) for field, wanted in sorted(fields.items()))
    return _Plan(getters, frozenset(always), finders)
