"""Recommendations, each for a rule that deserves it and none for one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sigma.rule import SigmaRule

from collector.errors import RuleError
from collector.sigma.build import selection
from collector.sigma.evaluate import condition_trees
from collector.sigma.imply import form, implies
from collector.sigma.lint import lint, unused_lists
from collector.sigma.load import load_each
from collector.sigma.parse import parse_file
from tests.collector.sigma.sigmas import ID, OTHER_ID, load, rule, shipped

if TYPE_CHECKING:
    from pathlib import Path


def said(detection: dict[str, Any], category: str) -> list[tuple[str, str, str]]:
    """Advice for a rule with this detection; examples would have to fit it, and are left out."""
    written = rule(detection={"sel": detection, "condition": "sel"}, logsource={"category": category})
    file = parse_file("a.yml", yaml.safe_dump(written).encode())
    [document] = file.documents
    [loaded] = load(rule())
    made = replace(loaded, body=selection(SigmaRule.from_dict(document.data), document, file))
    return [(it.code, it.severity, it.message) for it in lint([made])]


@pytest.mark.parametrize(
    ("detection", "category", "message"),
    [
        ({"TargetFilename": "home/dev/x"}, "file_access", "TargetFilename begins with /"),
        ({"HomePath|startswith": "/home/dev/.ssh/"}, "file_access", "HomePath begins with ~"),
        ({"TargetFilename|endswith": "/../x"}, "file_access", "is normalised"),
        ({"TargetFilename|contains": "a//b"}, "file_access", "is normalised"),
        ({"TargetFilename|endswith": "/bin/"}, "file_access", "never ends with `/`"),
        ({"TargetFilename|endswith": "/x", "Phase": "instal"}, "file_access", "Phase is never 'instal'"),
        ({"TargetFilename|endswith": "/x", "Phase|cased": "Import"}, "file_access", "Phase is never 'Import'"),
        ({"TargetFilename|endswith": "/x", "Actor": "dependency"}, "file_access", "Actor is never 'dependency'"),
        ({"TargetFilename|endswith": "/x", "Errno": "ENOFILE"}, "file_access", "there is no error 'ENOFILE'"),
        ({"DestinationPort": 70000}, "network_connection", "DestinationPort is never 70000"),
        ({"TargetFilename|endswith": "/x", "Mode": 755}, "file_change", "quote it, as in '0755'"),
        ({"CommandLine|base64offset": "secret"}, "process_creation", "add `contains`"),
        ({"Host|cased": "Example.test"}, "network_connection", "Host is in lower case"),
        ({"Kind": "file.write", "TargetFilename": "/x"}, "file_access", "no event can match it"),
    ],
)
def test_what_never_matches_is_an_error(detection: dict[str, Any], category: str, message: str) -> None:
    found = said(detection, category)
    assert [(code, severity) for code, severity, text in found if message in text] == [("never-matches", "error")]


@pytest.mark.parametrize(
    ("detection", "category"),
    [
        ({"TargetFilename": "/home/dev/x"}, "file_access"),
        ({"HomePath|startswith": "~/.ssh/"}, "file_access"),
        ({"TargetFilename|endswith": "x"}, "file_access"),
        ({"TargetFilename|startswith": "/tmp/"}, "file_access"),
        ({"TargetFilename": "/a/*/"[:-1] + "*"}, "file_access"),
        ({"TargetFilename|endswith": "/x", "Phase": "IMPORT", "Actor|startswith": "dependency:"}, "file_access"),
        ({"TargetFilename|endswith": "/x", "Actor": "dependency:six"}, "file_access"),
        ({"TargetFilename|endswith": "/x", "Errno": ["", "enoent", "SIGSYS"]}, "file_access"),
        ({"DestinationPort": 65535}, "network_connection"),
        ({"TargetFilename|endswith": "/x", "Mode": "0755"}, "file_change"),
        ({"CommandLine|base64offset|contains": "secret"}, "process_creation"),
        ({"Host": "Example.test"}, "network_connection"),
    ],
)
def test_what_can_match_is_not(detection: dict[str, Any], category: str) -> None:
    assert said(detection, category) == []


@pytest.mark.parametrize(
    ("detection", "category", "slow"),
    [
        ({"TargetFilename|re": "[0-9]+"}, "file_access", "it is tried on every file.read"),
        ({"Phase": "import"}, "file_access", "only Phase narrows it down"),
        ({"TargetFilename|re": "/x[0-9]+"}, "file_access", None),
        ({"Phase": "import"}, "file_delete", None),
    ],
)
def test_what_is_slow(detection: dict[str, Any], category: str, slow: str | None) -> None:
    found = said(detection, category)
    assert [code for code, severity, _ in found if severity == "advice"] == ([] if slow is None else ["slow"])
    assert slow is None or slow in found[0][2]


@pytest.mark.parametrize(("level", "missing"), [("medium", True), ("critical", True), ("low", False)])
def test_rules_that_count_say_what_looks_like_them(level: str, missing: bool) -> None:
    found = lint(load(rule(level=level, falsepositives=None)))
    assert [it.code for it in found] == (["missing"] if missing else [])
    assert lint(load(rule(level=level))) == ()


def two(narrow: dict[str, Any], **levels: str) -> list[tuple[str, str]]:
    """Lint the usual rule beside one with another detection."""
    first = load(rule(level=levels.get("first", "high")), name="first.yml")
    second = load(rule(id=OTHER_ID, level=levels.get("second", "high"), detection=narrow), name="second.yml")
    return [(it.rule, it.code) for it in lint([*first, *second])]


def test_duplicates_are_told_once_whatever_their_order() -> None:
    assert two({"x": {"Errno": "", "TargetFilename|endswith": "/ID_RSA"}, "condition": "x"}) == [
        ("second", "duplicate")
    ]


@pytest.mark.parametrize(("second", "told"), [("high", True), ("low", True), ("critical", False)])
def test_a_narrower_rule_that_says_no_more_is_shadowed(second: str, told: bool) -> None:
    narrow = {
        "x": {"TargetFilename|endswith": "/.ssh/id_rsa", "Errno": ""},
        "f": {"Actor": "installer"},
        "condition": "x and not f",
    }
    assert two(narrow, second=second) == ([("second", "shadowed")] if told else [])


@pytest.mark.parametrize(
    ("one", "other", "implied"),
    [
        ("{s: {Image: /a}, condition: s}", "{s: {Image: [/b, /A]}, condition: s}", True),
        ("{s: {Image: [/a, /b]}, condition: s}", "{s: {Image: /a}, condition: s}", False),
        ("{s: {Image: /a/b}, condition: s}", "{s: {Image|startswith: /a}, condition: s}", True),
        ("{s: {Image|startswith: /a/b}, condition: s}", "{s: {Image|startswith: /a}, condition: s}", True),
        ("{s: {Image|startswith: /a}, condition: s}", "{s: {Image|startswith: /a/b}, condition: s}", False),
        ("{s: {Image|contains: /a/b}, condition: s}", "{s: {Image|contains: a/}, condition: s}", True),
        ("{s: {Image|contains: /a/b}, condition: s}", "{s: {Image|startswith: /a}, condition: s}", False),
        ("{s: {Image: ab}, condition: s}", "{s: {Image: a*b}, condition: s}", True),
        ("{s: {Image: a}, condition: s}", "{s: {Image: a*a}, condition: s}", False),
        ("{s: {Image: /a}, condition: s}", "{s: {Image|cased: /a}, condition: s}", False),
        ("{s: {Image|cased: /a}, condition: s}", "{s: {Image: /A}, condition: s}", True),
        ("{s: {Image: /a}, condition: s}", "{s: {TargetFilename: /a}, condition: s}", False),
        ("{s: {Image: /a}, t: {Phase: import}, condition: s and t}", "{s: {Image: /a}, condition: s}", True),
        (
            "{s: {Image: /a}, t: {Phase: import}, condition: s and not t}",
            "{s: {Image: /a}, t: {Phase: import, Errno: ''}, condition: s and not t}",
            True,
        ),
        (
            "{s: {Image: /a}, t: {Phase: import, Errno: ''}, condition: s and not t}",
            "{s: {Image: /a}, t: {Phase: import}, condition: s and not t}",
            False,
        ),
        ("{s: {Image|re: a}, condition: s}", "{s: {Image|re: a}, condition: s}", True),
        ("{s: {Image|re: a}, condition: s}", "{s: {Image|re|i: a}, condition: s}", False),
        ("{s: [a, b], condition: s}", "{s: [b, a, c], condition: s}", True),
        ("{s: {Image|exists: true}, condition: s}", "{s: {Image|exists: false}, condition: s}", False),
    ],
)
def test_what_implies_what(one: str, other: str, implied: bool) -> None:
    trees = []
    for text in (one, other):
        parsed = SigmaRule.from_dict(
            {"title": "t", "logsource": {"category": "fumehood"}, "detection": yaml.safe_load(text)}
        )
        trees += condition_trees(parsed)
    assert implies(form(trees[0]), form(trees[1])) is implied


def test_a_list_that_no_rule_takes_in_is_told() -> None:
    [advice] = unused_lists(["readers"], load(rule()))
    assert (advice.path, advice.code) == ("lists/readers.yml", "unused")


def test_the_shipped_rules_have_no_errors() -> None:
    assert [it for it in lint(shipped().rules) if it.severity == "error"] == []


def test_each_file_is_loaded_whatever_the_others_are(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(yaml.safe_dump(rule(level=None)))
    (tmp_path / "b.yml").write_text(yaml.safe_dump(rule()))
    (tmp_path / "c.yml").write_text(yaml.safe_dump(rule()))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "x.yml").write_text("title: x\n")
    rules, errors = load_each(tmp_path)
    assert [it.name for it in rules] == ["b"]
    assert [str(error).split(":")[0] for error in errors] == ["lists/x.yml", "a.yml", "c.yml"]
    assert ID in str(errors[2])
    with pytest.raises(RuleError, match="there are no rules"):
        load_each(tmp_path / "nowhere")
