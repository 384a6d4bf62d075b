"""Rules and events in a few words, for tests."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from sigma.rule import SigmaRule

from collector.findings import match
from collector.sigma.evaluate import compile_trees, condition_trees
from collector.sigma.examples import processes_told
from collector.sigma.fields import category_named, getters_by_kind
from collector.sigma.load import load_rule, load_rules
from collector.sigma.rule import RuleSet
from collector.sigma.view import Context, View
from collector.text import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.events import AnyEvent
    from collector.findings import Finding
    from collector.sigma.rule import Rule, Selection

ID = "6cf21ee8-2b0d-4b4a-9c7d-0f3d7a0f0a01"
SHIPPED = Path(__file__).parents[3] / "profiles" / "rules"
OTHER_ID = "6cf21ee8-2b0d-4b4a-9c7d-0f3d7a0f0a02"

RULE: dict[str, Any] = {
    "title": "A key is read",
    "id": ID,
    "level": "high",
    "tags": ["attack.credential-access", "attack.t1552.004"],
    "logsource": {"product": "linux", "category": "file_access"},
    "detection": {"key": {"TargetFilename|endswith": "/id_rsa", "Errno": ""}, "condition": "key"},
    "falsepositives": ["backup tools"],
    "fumehood": {
        "why": "Keys open doors.",
        "examples": [
            {"name": "read", "match": True, "events": ["import target 4 file.read path=/home/dev/.ssh/id_rsa"]},
            {
                "name": "not there",
                "match": False,
                "events": ["import target 4 file.read path=/home/dev/.ssh/id_rsa errno=ENOENT"],
            },
        ],
    },
}


@cache
def shipped() -> RuleSet:
    """The rules that fumehood brings, loaded once."""
    return load_rules(SHIPPED)


def rule(**changes: object) -> dict[str, Any]:
    """RULE with other values; None takes a key away."""
    return {key: value for key, value in {**RULE, **changes}.items() if value is not None}


def load(*documents: dict[str, Any], name: str = "key-read.yml") -> list[Rule]:
    """Load a file of these documents."""
    return load_rule(name, yaml.safe_dump_all(documents, sort_keys=False).encode())


def selection(detection: str, category: str = "fumehood") -> Selection:
    """Compile a detection written as YAML, without the rest of a rule; `condition` is `sel` if not given."""
    return compiled({"condition": "sel", **yaml.safe_load(textwrap.dedent(detection))}, category)


def compiled(detection: dict[str, Any], category: str = "fumehood") -> Selection:
    """Compile a detection, without the rest of a rule."""
    found = category_named(category)
    assert found is not None
    parsed = SigmaRule.from_dict({"title": "test", "logsource": {"category": category}, "detection": detection})
    return compile_trees(condition_trees(parsed), found.kinds)


def lines_of_examples(rules: RuleSet) -> list[str]:
    """The events, in text form, of all examples of rules."""
    return [line for rule in rules.rules for example in rule.examples for line in example.events]


def fires(made: Selection, line: str) -> bool:
    """Whether a selection matches the event of one line (in text form)."""
    events = told(line)
    return bool(match(RuleSet((_rule_of(made),), ""), events, context(events)))


def told(*lines: str, interval: float = 1.0) -> list[AnyEvent]:
    """Events in text form, `interval` seconds apart; a line may begin with its own time, as in `@12.5 import ...`."""
    events = []
    for number, line in enumerate(lines):
        ts = number * interval
        text = line
        if line.startswith("@"):
            stamp, _, text = line[1:].partition(" ")
            ts = float(stamp)
        events.append(msgspec.structs.replace(parse(text), ts=ts))
    return events


def context(events: Sequence[AnyEvent]) -> Context:
    """Where the events of tests happen."""
    return Context(home="/home/dev", user="dev", processes=processes_told(events))


def tried_one_by_one(selections: Sequence[Selection], events: Sequence[AnyEvent], where: Context) -> list[list[int]]:
    """What each selection matches, by trying all on every event of their kinds: the places of the events."""
    views = [View(event, where, getters_by_kind()[type(event)]) for event in events]
    return [
        [at for at, view in enumerate(views) if type(view.event) in it.kinds and it.predicate(view)]
        for it in selections
    ]


def findings(rules: Sequence[Rule], events: Sequence[AnyEvent]) -> tuple[Finding, ...]:
    """Match events in that context."""
    return match(RuleSet(tuple(rules), ""), events, context(events))


def _rule_of(made: Selection) -> Rule:
    [plain] = load(rule())
    return replace(plain, body=made)
