"""Recommendations for rules that load: what never matches, what another says already, what is slow or missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from collector.sigma.closed import impossible, kinds_that_can
from collector.sigma.imply import form, implies
from collector.sigma.needs import COARSE
from collector.sigma.patterns import oddities
from collector.sigma.plan import leaves_in
from collector.sigma.rule import LEVELS, Selection, selections_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from collector.sigma.imply import Form
    from collector.sigma.rule import Rule

_FREQUENT: Final = frozenset({"file.read", "file.write"})
"""Kinds of which a run has thousands."""
_JUDGING: Final = frozenset({"critical", "high", "medium"})


class Advice(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Something about a rule that its author may want to change."""

    path: str
    rule: str
    code: Literal["does-not-load", "duplicate", "missing", "never-matches", "shadowed", "slow", "unused"]
    severity: Literal["error", "advice"]
    """An error is wrong; advice may be meant so."""
    message: str
    """What, and what to do."""


def lint(rules: Iterable[Rule]) -> tuple[Advice, ...]:
    """Look at rules.

    Args:
        rules: Rules that have been loaded; those by others are left out.

    Returns:
        What there is to say, in the order of their files.
    """
    ours = [rule for rule in rules if not rule.foreign]
    said = [advice for rule in ours for advice in (*_never(rule), *_slow(rule), *_missing(rule))]
    return tuple(sorted([*said, *_repeated(ours)]))


def unused_lists(lists: Iterable[str], rules: Iterable[Rule]) -> tuple[Advice, ...]:
    """Find named lists that no rule takes in.

    Args:
        lists: Their names.
        rules: Rules that have been loaded.

    Returns:
        Advice for each, in order.
    """
    written = [selection.written for rule in rules for selection in selections_of(rule)]
    text = "\n".join(it.text(part) for it in written if it is not None for part in it.rule.detection.detections)
    return tuple(
        Advice(
            path=f"lists/{name}.yml",
            rule="",
            code="unused",
            severity="advice",
            message=f"no rule says `expand` with '%{name}%': remove the list, or use it",
        )
        for name in sorted(lists)
        if f"%{name}%" not in text
    )


def _advice(rule: Rule, code: Literal["never-matches", "slow", "missing"], message: str, *, wrong: bool) -> Advice:
    severity: Literal["error", "advice"] = "error" if wrong else "advice"
    return Advice(path=rule.path, rule=rule.name, code=code, severity=severity, message=message)


def _never(rule: Rule) -> Iterator[Advice]:
    for selection in selections_of(rule):
        written = selection.written
        if written is None:
            continue
        if not kinds_that_can(written.trees, selection.kinds):
            text = "no event can match it: its parts exclude each other, or ask for what fields never are"
            yield _advice(rule, "never-matches", text, wrong=True)
        for leaf in (leaf for tree in written.trees for leaf in leaves_in(tree)):
            if impossible(leaf):
                text = f"{leaf.field} is never {str(leaf.value)!a}; see the values of the field in docs/rules.md"
                yield _advice(rule, "never-matches", text, wrong=True)
            for text in oddities(leaf):
                yield _advice(rule, "never-matches", text, wrong=True)


def _slow(rule: Rule) -> Iterator[Advice]:
    for selection in selections_of(rule):
        frequent = sorted(_FREQUENT & {str(kind.__struct_config__.tag) for kind in selection.kinds})
        if not frequent:
            continue
        if selection.needs is None:
            text = (
                f"it is tried on every {', '.join(frequent)}: ask for a piece of text too, such as a name or an ending"
            )
            yield _advice(rule, "slow", text, wrong=False)
        elif all(need.field in COARSE for need in selection.needs):
            fields = ", ".join(sorted({need.field for need in selection.needs}))
            text = (
                f"only {fields} narrows it down, in which many of {', '.join(frequent)} agree: ask for a piece of text"
            )
            yield _advice(rule, "slow", text, wrong=False)


def _missing(rule: Rule) -> Iterator[Advice]:
    if rule.level in _JUDGING and not rule.falsepositives:
        text = f"a rule of level {rule.level} counts: say under `falsepositives` what harmless things can look like it"
        yield _advice(rule, "missing", text, wrong=False)


class _Single(NamedTuple):
    """A rule over single events, and the forms of its conditions."""

    rule: Rule
    selection: Selection
    forms: frozenset[Form]


def _repeated(rules: Sequence[Rule]) -> Iterator[Advice]:
    """Compare all rules over single events, those that look at the same kinds with each other."""
    single = [
        _Single(rule, rule.body, frozenset(map(form, rule.body.written.trees)))
        for rule in rules
        if isinstance(rule.body, Selection) and rule.body.written is not None
    ]
    for place, one in enumerate(single):
        for number, other in enumerate(single):
            if place == number or not _within(one, other):
                continue
            rule, name, level = one.rule, other.rule.name, other.rule.level
            same = _within(other, one)
            if same and place > number:
                text = f"it matches what {name} matches: remove one of them"
                yield Advice(path=rule.path, rule=rule.name, code="duplicate", severity="error", message=text)
            elif not same and LEVELS.index(rule.level) >= LEVELS.index(level):
                text = f"{name}, of level {level}, matches whatever it matches: narrow that one or remove this"
                yield Advice(path=rule.path, rule=rule.name, code="shadowed", severity="advice", message=text)


def _within(one: _Single, other: _Single) -> bool:
    if not one.selection.kinds <= other.selection.kinds:
        return False
    return one.forms == other.forms or all(any(implies(mine, theirs) for theirs in other.forms) for mine in one.forms)
