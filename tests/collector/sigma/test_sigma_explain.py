"""A rule explained: parts, pieces, and which line fits which part."""

from __future__ import annotations

from pathlib import Path

from collector.sigma.explain import Line, explain
from collector.sigma.foreign import with_foreign
from tests.collector.sigma.sigmas import load, rule, shipped

HERE = Path(__file__).parent
READ = "import target 4 file.read path=/home/dev/.ssh/id_rsa"
DETECTION = {
    "key": {"TargetFilename|endswith": "/id_rsa", "Errno": ""},
    "filter": {"Actor": "installer"},
    "condition": "key and not filter",
}


def test_each_line_tells_which_parts_it_fits() -> None:
    examples = [
        {"name": "read", "match": True, "events": ["import target 4 process.exit", READ]},
        {"name": "by pip", "match": False, "events": [READ.replace("target", "installer")]},
    ]
    [made] = load(rule(detection=DETECTION, fumehood={"why": "because", "examples": examples}))
    told = explain(made)
    assert [(it.name, it.match, it.fired) for it in told.examples] == [("read", True, True), ("by pip", False, False)]
    path = {"TargetFilename": "/home/dev/.ssh/id_rsa"}
    assert told.examples[0].lines == (
        Line(event="import target 4 process.exit", matches=(), parts=(), values={}),
        Line(event=READ, matches=("rule",), parts=("key",), values={**path, "Actor": "target"}),
    )
    assert told.examples[1].lines[0].parts == ("key", "filter")
    assert told.examples[1].lines[0].matches == ()


def test_the_rule_is_shown_as_it_was_written() -> None:
    [made] = load(rule(detection=DETECTION))
    [look] = explain(made).looks
    assert (look.logsource, look.kinds, look.conditions) == ("file_access", ("file.read",), ("key and not filter",))
    assert [(part.name, part.fields) for part in look.parts] == [
        ("key", ("TargetFilename", "Errno")),
        ("filter", ("Actor",)),
    ]
    assert look.parts[1].yaml == "Actor: installer"
    assert look.looked_up == ("TargetFilename: */id_rsa",)


def test_correlations_are_told_in_words_and_by_step() -> None:
    rules = {it.name: it for it in shipped().rules}
    told = explain(rules["credentials-read-then-sent"])
    names = "credential-file-opened, unknown-host-after-credentials"
    assert told.correlation == f"temporal_ordered of {names} within 10m"
    assert [look.name for look in told.looks] == names.split(", ")
    assert told.examples[0].lines[0].matches == ("credential-file-opened",)
    assert told.examples[0].lines[0].parts == ("credential-file-opened: opened",)


def test_every_shipped_rule_and_rules_by_others_can_be_explained() -> None:
    rules = with_foreign(shipped(), [HERE / "foreign" / "linux"])
    for made in rules.rules:
        told = explain(made)
        assert told.looks
        assert all(look.parts and look.conditions and look.kinds for look in told.looks)
        assert all(it.match is it.fired for it in told.examples)
        assert bool(told.examples) is not made.foreign
    [counted] = [it for it in rules.rules if it.title == "Many Archives Read By One User"]
    assert explain(counted).correlation == "value_count of archive_read within 5m, gte 3 values of TargetFilename"
