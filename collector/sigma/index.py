"""All selections of a set of rules, arranged so that an event meets only those that it can match.

Three things spare work, and none changes an answer. By the setting of an event (kind, phase, actor, errno) most
selections are out of the question (`collector.sigma.gate`). Of the others, only those are tried of which a piece stands
in the event (`collector.sigma.needs`); a text is gone through once, however many rules there are. And what an event
led to is remembered for those that say the same.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.eventlog import briefly
from collector.sigma.evaluate import compile_condition
from collector.sigma.fields import fields_by_kind, getters_by_kind
from collector.sigma.finder import NOTHING, Finder, Remembering
from collector.sigma.gate import OPEN, Gate, gate_of
from collector.sigma.needs import needs_of
from collector.sigma.plan import blank_view, fields_in, fields_read
from collector.sigma.readings import Readings
from collector.sigma.view import View

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sigma.conditions import ConditionFieldEqualsValueExpression

    from collector.events import AnyEvent, Event
    from collector.sigma.needs import Need, Needs
    from collector.sigma.selection import Selection
    from collector.sigma.view import Context, Getter

Hits = list[list[int]]
"""For each selection the events that it matched, by their place in the run."""

_FEW: Final = 12
"""With so few selections, trying each is quicker than looking up which."""
_REMEMBERED: Final = 1 << 14
"""What events said, whose answers are remembered."""
_SHORT: Final = 512
"""Longest of these, in characters."""
_SETTINGS: Final = 1024
"""Settings whose plan is kept."""
_SETTING: Final = attrgetter("__class__", "phase", "actor", "errno")
_NOT_SAID: Final = frozenset({"ts", "pid", "source", "phase", "actor", "errno"})
"""What is not a part of what an event itself says."""


class _Answer(NamedTuple):
    """What is known of all events of a setting that say the same."""

    matched: tuple[int, ...]
    """Selections that match, whichever process does it and when."""
    wanted: frozenset[int]
    """Selections that have to be tried, since they ask for the process."""


_NOTHING: Final = _Answer((), NOTHING)


class _Plan(NamedTuple):
    """What becomes of the events of a setting."""

    always: frozenset[int]
    """Selections that no piece speaks for, by number."""
    finders: tuple[tuple[Getter, Finder], ...]
    """What pieces speak for in that which the event says."""
    by_process: tuple[tuple[Getter, Remembering], ...]
    """What pieces speak for in fields of its process."""


_NO_PLAN: Final = _Plan(NOTHING, (), ())


class _Kind:
    """The selections that can match a kind of event."""

    def __init__(self, kind: type[Event], selections: Sequence[Selection]) -> None:
        self.fields = fields_by_kind()[kind]
        self.getters = getters_by_kind()[kind]
        self.numbers = frozenset(number for number, selection in enumerate(selections) if kind in selection.kinds)
        self.settled = frozenset(number for number in self.numbers if self._is_settled(selections[number]))
        """Those that do not ask for the process or the time."""
        self.said = attrgetter(*[name for name in kind.__struct_fields__ if name not in _NOT_SAID] or ("phase",))
        """Gives what an event itself says."""
        self._blank = blank_view(kind)
        self._selections = selections
        self._needs: dict[int, Needs] = {}
        self._plans: dict[frozenset[int], _Plan] = {}

    def _is_settled(self, selection: Selection) -> bool:
        read = None if selection.trees is None else fields_read(selection.trees)
        return read is not None and all(self.fields[name].source != "process" for name in read if name in self.fields)

    def plan(self, possible: frozenset[int], *, look_up: bool) -> _Plan:
        """Make a plan for settings in which some of the selections are possible."""
        plan = self._plans.get(possible)
        if plan is None:
            plan = self._plans[possible] = self._planned(possible) if look_up else _Plan(possible, (), ())
        return plan

    def _planned(self, possible: frozenset[int]) -> _Plan:
        always: set[int] = set()
        wanted: dict[Getter, dict[Need, set[int]]] = {}
        of_process: set[Getter] = set()
        for number in possible:
            needs = self._needs_of(number)
            if needs is None:
                always.add(number)
                continue
            for need in needs:
                # Several names of one field are one.
                field = self.fields[need.field]
                wanted.setdefault(field.get, {}).setdefault(need._replace(field=""), set()).add(number)
                if field.source == "process":
                    of_process.add(field.get)
        finders = {get: Finder(needs) for get, needs in wanted.items()}
        return _Plan(
            frozenset(always),
            tuple((get, finder) for get, finder in finders.items() if get not in of_process),
            tuple((get, Remembering(finder)) for get, finder in finders.items() if get in of_process),
        )

    def _needs_of(self, number: int) -> Needs:
        if number not in self._needs:
            trees = self._selections[number].trees
            self._needs[number] = None if trees is None else needs_of(trees, self._known)
        return self._needs[number]

    def _known(self, leaf: ConditionFieldEqualsValueExpression) -> bool | None:
        """Whether a test holds of all events of the kind: it asks for the kind, or for what they have not."""
        if any(name in self.fields and name != "Kind" for name in fields_in(leaf)):
            return None
        return compile_condition(leaf)(self._blank)


class RuleIndex:
    """Selections, compiled for runs over many events."""

    def __init__(self, selections: Sequence[Selection], *, few: int = _FEW) -> None:
        """Arrange selections.

        Args:
            selections: What is looked for.
            few: Up to so many are tried one after the other.
        """
        self.selections = tuple(selections)
        self._look_up = len(selections) > few
        self._kinds: dict[type[Event], _Kind] = {}
        self._gates: dict[Hashable, tuple[Gate, set[int]]] = {}
        if self._look_up:
            names = {
                name for fields in fields_by_kind().values() for name, it in fields.items() if it.source == "setting"
            }
            for number, selection in enumerate(selections):
                gate = OPEN if selection.trees is None else gate_of(selection.trees, names)
                self._gates.setdefault(gate.form, (gate, set()))[1].add(number)

    def evaluate(self, events: Iterable[AnyEvent], context: Context) -> Hits:
        """Find what each selection matches.

        Args:
            events: Events in order of time.
            context: What fields need beside the events.

        Returns:
            For each selection, in the order given, its events in their order.
        """
        hits: Hits = [[] for _ in self.selections]
        predicates = [selection.predicate for selection in self.selections]
        run = _Run(self, context)
        settings = run.settings
        for position, event in Readings(run.leads).worth_it(briefly(events)):
            key = _SETTING(event)
            setting = settings.get(key) or run.meet(key, event)
            if setting.idle:
                continue
            said = setting.said(event)
            matched, wanted = setting.answers.get(said) or run.answer(setting, said, event)
            for get, finder in setting.by_process:
                if more := finder[get(event, context)]:
                    wanted = wanted | more
            for number in matched:
                hits[number].append(position)
            if wanted:
                view = View(event, context, setting.getters)
                for number in wanted:
                    if predicates[number](view):
                        hits[number].append(position)
        return hits

    def kind(self, kind: type[Event]) -> _Kind:
        """The selections for a kind of event."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(kind, self.selections)
        return found

    def plan(self, event: AnyEvent, context: Context) -> _Plan:
        """What becomes of events in the setting of one."""
        kind = self.kind(type(event))
        possible = kind.numbers
        if self._look_up:
            view = View(event, context, kind.getters)
            gates = (it for it in self._gates.values() if not it[1].isdisjoint(possible))
            possible &= frozenset().union(*(numbers for gate, numbers in gates if gate.outcome(view) is not False))
        return kind.plan(possible, look_up=self._look_up)


class _Setting:
    """The events of one setting in one run."""

    __slots__ = ("answers", "by_process", "getters", "idle", "plan", "said", "settled")

    def __init__(self, kind: _Kind, plan: _Plan) -> None:
        self.idle = plan == _NO_PLAN
        """Nothing is looked for."""
        self.plan = plan
        self.said = kind.said
        self.settled = kind.settled
        self.getters = kind.getters
        self.by_process = plan.by_process
        self.answers: dict[object, _Answer] = {}
        """By what an event says."""


class _Run:
    """What is remembered while the events of a run are evaluated."""

    def __init__(self, index: RuleIndex, context: Context) -> None:
        self.settings: dict[Hashable, _Setting] = {}
        self._index = index
        self._context = context
        self._room = _REMEMBERED

    def meet(self, key: Hashable, event: AnyEvent) -> _Setting:
        """Take the first event of a setting."""
        if len(self.settings) >= _SETTINGS:
            self.settings.clear()
            self._room = _REMEMBERED
        setting = _Setting(self._index.kind(type(event)), self._index.plan(event, self._context))
        self.settings[key] = setting
        return setting

    def leads(self, event: AnyEvent) -> bool | None:
        """Say whether events that differ from one in moment, process and line can match anything.

        Returns:
            None when nothing is looked for in their setting at all.
        """
        key = _SETTING(event)
        setting = self.settings.get(key) or self.meet(key, event)
        if setting.idle:
            return None
        said = setting.said(event)
        matched, wanted = setting.answers.get(said) or self.answer(setting, said, event)
        return bool(matched or wanted or setting.by_process)

    def answer(self, setting: _Setting, said: object, event: AnyEvent) -> _Answer:
        """Take the first event that says this, and remember what it leads to."""
        answer = self._found(setting, event)
        if _is_short(said):
            if not self._room:
                for one in self.settings.values():
                    one.answers.clear()
                self._room = _REMEMBERED
            self._room -= 1
            setting.answers[said] = answer
        return answer

    def _found(self, setting: _Setting, event: AnyEvent) -> _Answer:
        context, plan = self._context, setting.plan
        wanted = plan.always
        for get, finder in plan.finders:
            if (value := get(event, context)) is not None and (more := finder.find(value)):
                wanted = wanted | more
        if not wanted:
            return _NOTHING
        view = View(event, context, setting.getters)
        selections = self._index.selections
        matched = tuple(number for number in wanted & setting.settled if selections[number].predicate(view))
        return _Answer(matched, wanted - setting.settled)


def _is_short(said: object) -> bool:
    """Whether what an event says is worth to be remembered: long texts are rare, and would fill the memory."""
    length = 0
    for part in said if isinstance(said, tuple) else (said,):
        if isinstance(part, str):
            length += len(part)
        elif isinstance(part, tuple):
            length += sum(map(len, part))
    return length <= _SHORT
