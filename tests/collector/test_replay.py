"""The same evidence under two sets of rules."""

from __future__ import annotations

from pathlib import Path

import msgspec

from collector.bundle import Bundle
from collector.replay import Change, compare, replay
from collector.sigma.rule import RuleSet
from tests.collector.sigma.sigmas import load, rule
from tests.collector.stored_runs import golden, made

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "pth-beacon"


def test_findings_are_told_that_only_one_has_and_that_both_have_differently() -> None:
    before, after = made(1, rules=["gone", "same", "heavier"]), made(1, rules=["same", "heavier", "new"])
    heavier = msgspec.structs.replace(after.findings[1], count=99)
    after = msgspec.structs.replace(
        after, verdict="suspicious", findings=(after.findings[0], heavier, after.findings[2])
    )
    found = compare("some/bundle", before, after)
    assert [one.name for one in found.removed] == ["gone"]
    assert [one.name for one in found.added] == ["new"]
    assert [(change.before.name, change.before.count != 99, change.after.count) for change in found.changed] == [
        ("heavier", True, 99)
    ]
    assert (found.before.verdict, found.after.verdict, found.differs) == ("clean", "suspicious", True)


def test_the_same_rules_say_the_same() -> None:
    report = golden("pth-beacon")
    found = compare("x", report, report)
    assert not found.differs
    assert (found.added, found.removed, found.changed, found.purl) == ((), (), (), report.package.purl)


def test_a_stored_run_is_judged_twice_by_evidence_read_once() -> None:
    asked = rule(
        logsource={"category": "dns_query", "product": "linux"},
        detection={"asked": {"QueryName|endswith": ".test"}, "condition": "asked"},
        fumehood={
            "why": "For the test.",
            "examples": [
                {"name": "asked", "match": True, "events": ["startup target 7 dns.query name=a.test"]},
                {"name": "another", "match": False, "events": ["startup target 7 dns.query name=a.example"]},
            ],
        },
    )
    rules = RuleSet(tuple(load(asked)), "")
    found = replay(Bundle.open(BUNDLE), RuleSet((), ""), rules)
    assert [one.name for one in found.added]
    assert found.removed == ()
    assert not any(isinstance(one, Change) for one in found.changed)
    assert replay(Bundle.open(BUNDLE), rules, rules).changed == ()
