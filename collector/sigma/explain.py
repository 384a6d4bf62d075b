"""A rule explained: what it looks for, and which line of its examples matched which part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.sigma.evaluate import compile_condition
from collector.sigma.examples import HOME, USER, events_of, fires, processes_told
from collector.sigma.fields import getters_by_kind
from collector.sigma.plan import fields_in
from collector.sigma.rule import RuleSet, Selection
from collector.sigma.view import Context, View, absent
from collector.text import render

if TYPE_CHECKING:
    from collector.sigma.parse import Example
    from collector.sigma.rule import Predicate, Rule


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A named selection of a rule."""

    name: str
    yaml: str
    fields: tuple[str, ...]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for in single events: the rule itself, or a base rule of a correlation."""

    name: str
    """Of a base rule; empty for the rule itself."""
    logsource: str
    kinds: tuple[str, ...]
    conditions: tuple[str, ...]
    parts: tuple[Part, ...]
    looked_up: tuple[str, ...]
    """Pieces of which an event must have one to be tried; empty when every event of its kinds is."""
    group_by: tuple[str, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An event of an example."""

    event: str
    matches: tuple[str, ...]
    """Base rules that match it; for a rule over single events `rule`."""
    parts: tuple[str, ...]
    """Selections that it fits, as `name` or `base rule: name`."""
    values: dict[str, object]
    """What the fields that the rule names are in it; absent ones are left out."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An example."""

    name: str
    match: bool
    """What it says."""
    fired: bool
    """What the rule does."""
    lines: tuple[Line, ...]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A rule explained."""

    name: str
    path: str
    title: str
    level: str
    attack: tuple[str, ...]
    nursery: bool
    foreign: bool
    description: str
    why: str
    normal: str
    falsepositives: tuple[str, ...]
    looks: tuple[Look, ...]
    correlation: str
    """Its type, group and condition in words; empty for a rule over single events."""
    examples: tuple[Shown, ...]


def explain(rule: Rule) -> Explained:
    """Explain a rule.

    Args:
        rule: Any rule, also one by others, which has no examples.

    Returns:
        All that there is to say of it.
    """
    single = isinstance(rule.body, Selection)
    looks = _looks(rule)
    return Explained(
        name=rule.name,
        path=rule.path,
        title=rule.title,
        level=rule.level,
        attack=rule.attack,
        nursery=rule.nursery,
        foreign=rule.foreign,
        description=rule.description,
        why=rule.why,
        normal=rule.normal,
        falsepositives=rule.falsepositives,
        looks=tuple(_look(name, selection, groups) for name, selection, groups in looks),
        correlation="" if isinstance(rule.body, Selection) else rule.body.words,
        examples=tuple(_shown(rule, example, single=single) for example in rule.examples),
    )


def _looks(rule: Rule) -> list[tuple[str, Selection, tuple[str, ...]]]:
    if isinstance(rule.body, Selection):
        return [("", rule.body, ())]
    return [(step.name, step.selection, step.group_by) for step in rule.body.steps]


def _look(name: str, selection: Selection, groups: tuple[str, ...]) -> Look:
    written = selection.written
    parts = {} if written is None else written.parts
    needs = sorted(selection.needs or ())
    return Look(
        name=name,
        logsource="" if written is None else written.logsource,
        kinds=tuple(sorted(str(kind.__struct_config__.tag) for kind in selection.kinds)),
        conditions=() if written is None else written.conditions,
        parts=tuple(
            Part(name=part, yaml=written.text(part), fields=tuple(dict.fromkeys(fields_in(tree))))
            for part, tree in parts.items()
            if written is not None
        ),
        looked_up=tuple(
            f"{need.field}: {'' if need.first else '*'}{need.text}{'' if need.last else '*'}" for need in needs
        ),
        group_by=groups,
    )


def _parts(selection: Selection) -> dict[str, Predicate]:
    parts = {} if selection.written is None else selection.written.parts
    return {name: compile_condition(tree) for name, tree in parts.items()}


def _fields(selection: Selection) -> list[str]:
    trees = () if selection.written is None else selection.written.trees
    return [field for tree in trees for field in fields_in(tree)]


def _shown(rule: Rule, example: Example, *, single: bool) -> Shown:
    events = events_of(example)
    context = Context(HOME, USER, processes_told(events))
    tests = [(name, selection, _parts(selection), _fields(selection)) for name, selection, _ in _looks(rule)]
    lines = []
    for event in events:
        view = View(event, context, getters_by_kind()[type(event)])
        matches: list[str] = []
        fitting: list[str] = []
        values: dict[str, object] = {}
        for name, selection, parts, fields in tests:
            if type(event) not in selection.kinds:
                continue
            matches += [name or "rule"] if selection.predicate(view) else []
            fitting += [part if single else f"{name}: {part}" for part, test in parts.items() if test(view)]
            values.update({field: view.value(field) for field in fields if not absent(view.value(field))})
        lines.append(Line(event=render(event), matches=tuple(matches), parts=tuple(fitting), values=values))
    return Shown(name=example.name, match=example.match, fired=fires(RuleSet((rule,), ""), example), lines=tuple(lines))
