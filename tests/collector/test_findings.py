"""From matches to findings: grouping, order, bounds."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from collector.findings import MAX_EVIDENCE, Finding
from collector.verdict import proof_of
from tests.collector.sigma.sigmas import ID, OTHER_ID, RULE, findings, load, rule, told

READ = "import target 4 file.read path=/home/dev/.ssh/id_rsa"


def test_a_finding_tells_rule_events_and_reasons() -> None:
    [finding] = findings(load(rule(description="Reads.")), told("import target 4 file.read path=/etc/hosts", READ))
    assert finding == Finding(
        rule=ID,
        name="key-read",
        title="A key is read",
        level="high",
        attack=("T1552.004",),
        phase="import",
        actor="target",
        nursery=False,
        evidence=tuple(told("import target 4 file.read path=/etc/hosts", READ)[1:]),
        count=1,
        description="Reads.",
        why="Keys open doors.",
        falsepositives=("backup tools",),
    )


def test_findings_are_grouped_by_phase_and_actor() -> None:
    lines = (READ, READ.replace("import", "install"), READ.replace("target", "dependency:left"), READ)
    found = findings(load(rule()), told(*lines))
    assert [(finding.phase, finding.actor, finding.count) for finding in found] == [
        ("install", "target", 1),
        ("import", "dependency:left", 1),
        ("import", "target", 2),
    ]


def test_the_gravest_come_first_then_phases_then_names() -> None:
    rules = [
        *load(rule(level="low"), name="a.yml"),
        *load(rule(id=OTHER_ID, level="critical"), name="nursery/c.yml"),
        *load(rule(level="high"), name="z.yml"),
        *load(rule(level="high"), name="b.yml"),
    ]
    found = findings(rules, told(READ.replace("import", "linger"), READ, READ.replace("import", "unheard-of")))
    assert [(finding.level, finding.phase, finding.name) for finding in found] == [
        (level, phase, name)
        for level, names in (("critical", "c"), ("high", "bz"), ("low", "a"))
        for phase in ("import", "linger", "unheard-of")
        for name in names
    ]
    assert {finding.name for finding in found if finding.nursery} == {"c"}


@pytest.mark.parametrize(("distinct", "shown"), [(3, MAX_EVIDENCE), (100, MAX_EVIDENCE)])
def test_evidence_is_bounded_and_prefers_what_differs(distinct: int, shown: int) -> None:
    repeated = [READ] * 200
    different = [READ.replace("/.ssh", f"/{number}") for number in range(distinct)]
    [finding] = findings(load(rule()), told(*repeated, *different))
    assert finding.count == 200 + distinct
    assert len(finding.evidence) == shown
    assert len({event.path for event in finding.evidence if hasattr(event, "path")}) == min(distinct + 1, shown)
    assert list(finding.evidence) == sorted(finding.evidence, key=lambda event: event.ts)


def test_the_same_events_give_the_same_findings() -> None:
    rules = load(rule())
    events = told(READ, READ.replace("target", "dependency:b"), READ.replace("target", "dependency:a"))
    once = msgspec.json.encode(findings(rules, events))
    assert once == msgspec.json.encode(findings(rules, events))
    assert msgspec.json.decode(once, type=tuple[Finding, ...]) == findings(rules, events)


def test_events_of_other_kinds_are_not_looked_at() -> None:
    assert RULE["logsource"]["category"] == "file_access"
    assert findings(load(rule()), told(READ.replace("file.read", "file.write"))) == ()


CHAIN = yaml.safe_load(f"""
title: Key read, then sent
id: {OTHER_ID}
level: critical
tags: [attack.t1041]
correlation: {{type: temporal_ordered, rules: [key, contact], timespan: 1m}}
fumehood:
  why: Theft.
  normal: A build reads its own sources and talks to nobody.
  beacon: part
  examples:
  - {{name: both, match: true, events: ["{READ}", "import target 4 dns.query name=a.test"]}}
  - {{name: one, match: false, events: ["{READ}"]}}
""")
BASES = [
    {**rule(id=None, level=None, tags=None, falsepositives=None, fumehood=None), "name": "key"},
    {
        "title": "Contact",
        "name": "contact",
        "logsource": {"product": "linux", "category": "dns_query"},
        "detection": {"name": {"QueryName": "*"}, "condition": "name"},
    },
]
ASKED = "import target 4 dns.query name=a.test"


def chain(*lines: str) -> Finding:
    [finding] = findings(load(CHAIN, *BASES, name="chain.yml"), told(*lines))
    return finding


def test_what_a_rule_says_is_in_its_findings() -> None:
    finding = chain(READ, ASKED)
    assert (finding.chain, finding.owned, finding.called, finding.beacon) == (True, True, False, "part")
    assert finding.normal == "A build reads its own sources and talks to nobody."


@pytest.mark.parametrize(
    ("first", "second", "owned"),
    [
        ("target", "target", True),
        ("target", "dependency:left", True),
        ("installer", "target", False),
        ("target", "installer", False),
        ("build-backend", "target", False),
    ],
)
def test_a_chain_is_owned_when_each_part_is(first: str, second: str, *, owned: bool) -> None:
    lines = (READ.replace("target", first), ASKED.replace("target", second))
    assert chain(*lines).owned is owned


def test_acts_of_the_installer_in_between_do_not_disown_a_chain() -> None:
    """Else a package could make pip do something similar and be proven nothing."""
    assert chain(READ.replace("target", "installer"), READ, ASKED).owned


@pytest.mark.parametrize("repeated", [READ.replace("target", "build-backend"), READ.replace("import", "exercise")])
def test_a_repeated_part_of_a_chain_does_not_disown_it(repeated: str) -> None:
    finding = chain(READ, repeated, ASKED)
    assert (finding.owned, finding.called, finding.count) == (True, False, 3)
    assert not chain(repeated, ASKED).owned or chain(repeated, ASKED).called


def test_fewer_matches_of_its_own_are_no_chain() -> None:
    few = {**CHAIN, "correlation": {"type": "event_count", "rules": ["key"], "group-by": ["Run"], "timespan": "1m"}}
    few["correlation"]["condition"] = {"lt": 2}
    few["fumehood"] = {
        **CHAIN["fumehood"],
        "examples": [
            {"name": "one", "match": True, "events": [READ]},
            {"name": "two", "match": False, "events": [READ, READ]},
        ],
    }
    rules = load(few, BASES[0], name="few.yml")
    assert findings(rules, told(READ, READ.replace("target", "installer"))) == ()
    assert len(findings(rules, told(READ))) == 1


def test_evidence_keeps_what_proves_theft() -> None:
    """Bait that goes back to the metadata service a hundred times does not hide that it went elsewhere too."""
    known = rule(level="critical", logsource={"product": "linux", "category": "tls"})
    known["detection"] = {"bait": {"Bait|re": "."}, "condition": "bait"}
    hello = 'exercise target 4 tls.hello ip=169.254.169.254 sni=a{}.test role=metadata bait=["gh-token/plain"]'
    left = 'exercise target 4 tls.hello ip=203.0.113.5 sni=drop.test bait=["gh-token/plain"]'
    known["fumehood"] = {
        "why": "Theft.",
        "normal": "Silence.",
        "examples": [
            {"name": "left", "match": True, "events": [left]},
            {"name": "none", "match": False, "events": ["exercise target 4 tls.hello ip=203.0.113.5 sni=drop.test"]},
        ],
    }
    [finding] = findings(load(known), told(*(hello.format(number) for number in range(100)), left))
    assert len(finding.evidence) == MAX_EVIDENCE
    assert proof_of(finding) == "bait-left"


@pytest.mark.parametrize(
    ("first", "second", "called"),
    [
        ("import", "import", False),
        ("exercise", "exercise", True),
        ("import", "exercise", True),
        ("import", "linger", False),
    ],
)
def test_what_happens_only_when_called(first: str, second: str, *, called: bool) -> None:
    assert chain(READ.replace("import", first), ASKED.replace("import", second)).called is called


def test_what_a_called_program_leaves_running_was_called_too() -> None:
    left = (
        "exercise target 40 process.start parent=1",
        "exercise target 41 process.start parent=40",
        READ.replace("import target 4", "linger target 41"),
        ASKED.replace("import target 4", "linger target 41"),
    )
    assert chain(*left).called
    earlier = [line.replace("exercise", "import") for line in left]
    assert not chain(*earlier).called


def test_once_uncalled_is_enough() -> None:
    lines = (READ.replace("import", "exercise"), READ)
    found = {finding.phase: finding.called for finding in findings(load(rule(level="critical")), told(*lines))}
    assert found == {"exercise": True, "import": False}


def test_a_long_line_of_processes_that_a_called_program_left_is_judged_at_once() -> None:
    numbers = range(1000, 21_000)
    forks = [f"exercise target {number} process.start parent={number - 1}" for number in numbers]
    acts = [READ.replace("import target 4", f"linger target {number}") for number in numbers]
    [finding] = findings(load(rule(level="critical")), told(*forks, *acts))
    assert (finding.called, finding.count) == (True, 20_000)
