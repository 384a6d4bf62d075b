"""Correlations: counts, values and sequences within a timespan, grouped."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from collector.errors import RuleError
from collector.processes import Process, ProcessTable
from tests.collector.sigma.sigmas import RULE, context, findings, load, rule, told

READS = {
    "title": "read",
    "name": "reads",
    "logsource": {"category": "file_access"},
    "detection": {"sel": {"TargetFilename|startswith": "/k"}, "condition": "sel"},
}
DIALS = {
    "title": "dial",
    "name": "dials",
    "logsource": {"category": "network_connection"},
    "detection": {"sel": {"HostRole": ""}, "condition": "sel"},
}
ANYTHING = {
    "title": "anything",
    "name": "anything",
    "logsource": {"category": "file_access"},
    "detection": {"sel": {"TargetFilename|contains": "/"}, "condition": "sel"},
}
READ = "import target 4 file.read path=/k{}"
DIAL = "import target 4 network.connect ip=192.0.2.1 port=1"


def correlation(text: str, examples: tuple[list[str], list[str]], *bases: dict[str, Any]) -> Any:
    """Load a correlation over base rules; the examples are one match and one near miss."""
    hit, miss = examples
    told_examples = [
        {"name": "match", "match": True, "events": hit},
        {"name": "near miss", "match": False, "events": miss},
    ]
    head = rule(
        logsource=None,
        detection=None,
        correlation=yaml.safe_load(text),
        fumehood={"why": "together they tell", "examples": told_examples},
    )
    return load(head, *bases)


COUNT = "{type: event_count, rules: [reads], timespan: 10s, group-by: [Phase], condition: {gte: 3}}"
ORDERED = "{type: temporal_ordered, rules: [reads, dials], timespan: 10s}"
BOTH = "{type: temporal, rules: [reads, dials], timespan: 10s}"
THREE_READS = ([READ.format(n) for n in range(3)], [READ.format(n) for n in range(2)])
READ_AND_DIAL = ([READ.format(1), DIAL], [READ.format(1)])


def paths(finding: Any) -> list[str]:
    return [getattr(event, "path", "dial") for event in finding.evidence]


def test_event_count_within_its_timespan() -> None:
    rules = correlation(COUNT, THREE_READS, READS)
    assert findings(rules, told(*(f"@{at} {READ.format(at)}" for at in (0, 6, 12, 18)))) == ()
    [finding] = findings(rules, told(*(f"@{at} {READ.format(at)}" for at in (0, 20, 25, 30, 60))))
    assert paths(finding) == ["/k20", "/k25", "/k30"]
    assert finding.count == 3


def test_event_count_tells_every_event_that_is_part_of_an_occurrence() -> None:
    rules = correlation(COUNT, THREE_READS, READS)
    [finding] = findings(rules, told(*(f"@{at} {READ.format(at)}" for at in range(5))))
    assert finding.count == 5


def test_group_by_keeps_events_apart() -> None:
    rules = correlation(COUNT, THREE_READS, READS)
    events = told(READ.format(1), READ.format(2), READ.format(3).replace("import", "startup"))
    assert findings(rules, events) == ()


def test_without_group_by_the_run_is_one_group() -> None:
    rules = correlation(COUNT.replace(" group-by: [Phase],", ""), THREE_READS, READS)
    [finding] = findings(rules, told(READ.format(1), READ.format(2), READ.format(3).replace("import", "startup")))
    assert (finding.phase, finding.count) == ("startup", 3)


def test_gt_wants_one_more() -> None:
    rules = correlation(COUNT.replace("gte: 3", "gt: 2"), THREE_READS, READS)
    assert len(findings(rules, told(*THREE_READS[0]))) == 1


def test_events_that_lack_what_is_grouped_by_are_not_one_group() -> None:
    text = COUNT.replace("[Phase]", "[ProcessId]")
    rules = correlation(text, THREE_READS, READS)
    assert findings(rules, told(*(line.replace(" 4 ", " - ") for line in THREE_READS[0]))) == ()


def test_process_tree_groups_by_the_branch_below_the_root() -> None:
    text = COUNT.replace("[Phase]", "[ProcessTree]")
    rules = correlation(text, ([READ.format(n) for n in range(3)], [READ.format(1)]), READS)
    tree = ["import target 2 process.start parent=1", "import target 3 process.start parent=2"]
    other = "import target 8 process.start parent=1"

    def reads(*pids: int) -> list[str]:
        return [READ.format(at).replace(" 4 ", f" {pid} ") for at, pid in enumerate(pids)]

    assert len(findings(rules, told(*tree, other, *reads(2, 3, 3), interval=0.1))) == 1
    assert findings(rules, told(*tree, other, *reads(2, 3, 8), interval=0.1)) == ()


def test_a_branch_is_found_however_deep_and_in_whatever_order() -> None:
    rows = [Process(pid, pid - 1 if pid > 1 else 0, "import", float(pid), None, None, (), ()) for pid in range(1, 3000)]
    rows.append(Process(5000, 1, "import", 1.0, None, None, (), ()))
    for order in ((2999, 1, 2, 5000, 1500), (1, 2, 1500, 2999, 5000)):
        table = ProcessTable(rows)
        tops = {1: 1, 2: 2, 1500: 2, 2999: 2, 5000: 5000}
        assert {pid: getattr(table.branch(pid, 9999.0), "pid", None) for pid in order} == {it: tops[it] for it in order}
    assert ProcessTable(rows).branch(7777) is None


@pytest.mark.parametrize(
    ("condition", "times", "pieces"),
    [
        ("lt: 3", (0, 1, 2), []),
        ("lt: 3", (0, 1), [2]),
        ("lt: 3", (0, 1, 20), [3]),
        ("lte: 2", (0, 1, 2, 20, 21), [2]),
        ("eq: 2", (0, 10, 10.5, 11), [4]),
        ("eq: 3", (0, 1, 2, 3), []),
        ("neq: 3", (0, 1, 2, 3), [4]),
    ],
)
def test_other_comparisons_are_of_pieces_that_begin_with_a_match(
    condition: str, times: tuple[float, ...], pieces: list[int]
) -> None:
    shown = THREE_READS if condition == "eq: 3" else ([READ.format(1)] * 2, [READ.format(1)] * 3)
    if condition == "neq: 3":
        shown = ([READ.format(1)], [READ.format(1)] * 3)
    rules = correlation(COUNT.replace("gte: 3", condition), shown, READS)
    found = findings(rules, told(*(f"@{at} {READ.format(1)}" for at in times)))
    assert [finding.count for finding in found] == pieces


def test_distinct_values_are_compared_too() -> None:
    text = VALUES.replace("gte: 3", "eq: 2")
    rules = correlation(text, ([READ.format(1), READ.format(2)], [READ.format(1)] * 2), READS)
    assert findings(rules, told(*(READ.format(n) for n in (1, 2, 1, 2)), interval=0.1))[0].count == 4
    assert findings(rules, told(*(READ.format(n) for n in (1, 2, 3)), interval=0.1)) == ()


def test_the_machine_is_the_whole_run() -> None:
    rules = correlation(COUNT.replace("[Phase]", "[Computer]"), THREE_READS, READS)
    lines = [READ.format(n).replace("import", phase) for n, phase in enumerate(("install", "import", "exercise"))]
    assert findings(rules, told(*lines))[0].count == 3


VALUES = "{type: value_count, rules: [reads], timespan: 10s, condition: {field: TargetFilename, gte: 3}}"


def test_value_count_counts_distinct_values_within_its_timespan() -> None:
    rules = correlation(VALUES, (THREE_READS[0], [READ.format(1)] * 5), READS)
    assert findings(rules, told(*(f"@{at} {READ.format(n)}" for at, n in ((0, 1), (5, 2), (11, 3), (12, 2))))) == ()
    [finding] = findings(rules, told(*(f"@{at} {READ.format(n)}" for at, n in ((0, 1), (9, 1), (10, 2), (19, 3)))))
    assert (paths(finding), finding.count) == (["/k1", "/k2", "/k3"], 3)


def test_value_count_counts_the_members_of_a_list() -> None:
    http = {
        **READS,
        "logsource": {"category": "proxy"},
        "detection": {"sel": {"cs-method": "POST"}, "condition": "sel"},
    }
    request = "import target - http.request method=POST host=x.test target=/ bait={}"
    one, two = request.format('["a/plain"]'), request.format('["b/plain","c/plain"]')
    rules = correlation(VALUES.replace("TargetFilename", "Bait"), ([one, two], [one, one, one]), http)
    assert findings(rules, told(one, two))[0].count == 2
    assert findings(rules, told(two, two)) == ()


def test_temporal_wants_each_rule_in_any_order() -> None:
    rules = correlation(BOTH, READ_AND_DIAL, READS, DIALS)
    assert len(findings(rules, told(DIAL, READ.format(1)))) == 1
    assert findings(rules, told(f"@0 {DIAL}", f"@10.5 {READ.format(1)}")) == ()
    assert findings(rules, told(DIAL, DIAL)) == ()


def test_temporal_with_a_condition_of_its_own() -> None:
    text = BOTH.replace("}", ", condition: reads and (dials or anything)}")
    text = text.replace("[reads, dials]", "[reads, dials, anything]")
    rules = correlation(text, READ_AND_DIAL, READS, DIALS, {**ANYTHING, "logsource": {"category": "file_delete"}})
    assert len(findings(rules, told(READ.format(1), "import target 4 file.delete path=/x"))) == 1
    assert findings(rules, told(DIAL, "import target 4 file.delete path=/x")) == ()


def test_temporal_may_ask_for_some_of_its_rules() -> None:
    text = BOTH.replace("dials]", "dials, gone]").replace("}", ", condition: {gte: 2}}")
    gone = {**ANYTHING, "name": "gone", "logsource": {"category": "file_delete"}}
    rules = correlation(text, READ_AND_DIAL, READS, DIALS, gone)
    assert len(findings(rules, told(DIAL, "import target 4 file.delete path=/x"))) == 1


def test_temporal_ordered_wants_the_order() -> None:
    rules = correlation(ORDERED, (READ_AND_DIAL[0], [DIAL, READ.format(1)]), READS, DIALS)
    [finding] = findings(rules, told(DIAL, READ.format(1), READ.format(2), DIAL))
    assert paths(finding) == ["/k2", "dial"]
    assert findings(rules, told(f"@0 {READ.format(1)}", f"@11 {DIAL}")) == ()


def test_temporal_ordered_begins_with_whatever_can_still_complete() -> None:
    rules = correlation(ORDERED, (READ_AND_DIAL[0], [DIAL]), READS, DIALS)
    [finding] = findings(rules, told(f"@0 {READ.format(1)}", f"@9 {READ.format(2)}", f"@15 {DIAL}"))
    assert paths(finding) == ["/k2", "dial"]


def test_what_completes_a_chain_again_for_another_actor_is_told_too() -> None:
    rules = correlation(ORDERED, (READ_AND_DIAL[0], [DIAL]), READS, DIALS)
    found = findings(rules, told(READ.format(1), DIAL.replace("target", "dependency:left"), DIAL))
    assert [finding.actor for finding in found] == ["dependency:left", "target"]


def test_one_event_is_one_step() -> None:
    text = "{type: temporal_ordered, rules: [reads, anything], timespan: 10s}"
    rules = correlation(text, ([READ.format(1)] * 2, [READ.format(1)]), READS, ANYTHING)
    [finding] = findings(rules, told(READ.format(1), "import target 4 file.read path=/other"))
    assert paths(finding) == ["/k1", "/other"]


def test_events_at_one_instant_keep_their_order() -> None:
    rules = correlation(ORDERED, (READ_AND_DIAL[0], [DIAL]), READS, DIALS)
    assert findings(rules, told(f"@1 {DIAL}", f"@1 {READ.format(1)}")) == ()
    assert len(findings(rules, told(f"@1 {READ.format(1)}", f"@1 {DIAL}"))) == 1


def test_an_alias_groups_by_fields_of_different_names() -> None:
    text = """
    type: temporal
    rules: [reads, dials]
    timespan: 10s
    group-by: [what]
    aliases: {what: {reads: TargetFilename, dials: DestinationHostname}}
    """
    named = DIAL + " host=/k1"
    rules = correlation(text, ([READ.format(1), named], [READ.format(2), named]), READS, DIALS)
    assert len(findings(rules, told(named, READ.format(1)))) == 1


def test_base_rules_are_silent_unless_they_are_let() -> None:
    silent = correlation(BOTH, READ_AND_DIAL, READS, DIALS)
    assert [made.name for made in silent] == ["key-read"]
    complete = {**RULE, "id": "6cf21ee8-2b0d-4b4a-9c7d-0f3d7a0f0a09", "name": "reads"}
    text = BOTH.replace("}", ", generate: true}").replace(", dials]", "]")
    hit = RULE["fumehood"]["examples"][0]["events"]
    loud = correlation(text, (hit, [DIAL]), complete)
    assert [made.name for made in loud] == ["key-read", "key-read/reads"]
    assert [found.name for found in findings(loud, told(*hit))] == ["key-read", "key-read/reads"]


def test_base_rules_can_be_named_by_id() -> None:
    base = {key: value for key, value in READS.items() if key != "name"} | {
        "id": "6cf21ee8-2b0d-4b4a-9c7d-0f3d7a0f0a09"
    }
    rules = correlation(COUNT.replace("[reads]", f"[{base['id']}]"), THREE_READS, base)
    assert len(findings(rules, told(*THREE_READS[0]))) == 1


def test_long_runs_of_matches_stay_linear() -> None:
    rules = correlation(ORDERED.replace("10s", "10d"), (READ_AND_DIAL[0], [DIAL]), READS, DIALS)
    events = told(*([READ.format(1)] * 2000 + [DIAL] * 2000), interval=0.01)
    [finding] = findings(rules, events)
    assert finding.count == 2001
    assert len(finding.evidence) == 20
    assert context(events).home == "/home/dev"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COUNT.replace("gte: 3", "gte: 0"), "at least one whole event"),
        (COUNT.replace("[Phase]", "[Phse]"), "did you mean 'Phase'"),
        (COUNT.replace("timespan: 10s", "timespan: ten"), "Timespan 'ten' is invalid"),
        (COUNT.replace("[reads]", "[rides]"), "rides"),
        (COUNT.replace("event_count", "value_sum").replace("gte", "field: Phase, gte"), "are not evaluated"),
        (COUNT.replace("event_count", "event_cnt"), "event_cnt"),
        (COUNT.replace("timespan", "time"), "unknown key of correlation 'time'; did you mean 'timespan'"),
        (VALUES.replace("TargetFilename", "Filename"), "did you mean 'TargetFilename'"),
        (BOTH.replace(", dials", "").replace("}", ", condition: {gte: 2}}"), "more than the 1 rules"),
        (BOTH.replace(", dials", "").replace("}", ", condition: not reads}"), "`not` in a correlation"),
        (ORDERED.replace(", dials", "").replace("}", ", condition: reads}"), "drop its condition"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(RuleError, match=r"^key-read\.yml") as error:
        correlation(text, THREE_READS, READS)
    assert message in str(error.value)


def test_a_base_rule_that_is_not_used_is_refused() -> None:
    with pytest.raises(RuleError, match="not named in `rules`"):
        correlation(COUNT, THREE_READS, READS, DIALS)


def test_a_second_correlation_is_refused() -> None:
    second = {"title": "second", "name": "second", "correlation": yaml.safe_load(COUNT)}
    with pytest.raises(RuleError, match="one file holds one correlation"):
        correlation(COUNT, THREE_READS, READS, second)
