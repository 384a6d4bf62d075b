"""Named lists: what they must say, and what rules may do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from collector.errors import RuleError
from collector.sigma.lists import load_list
from collector.sigma.load import load_lists, load_rule, load_rules
from tests.collector.sigma.sigmas import findings, rule, told

if TYPE_CHECKING:
    from pathlib import Path

    from collector.sigma.rule import Rule

LIST: dict[str, Any] = {
    "title": "Readers",
    "description": "Programs that may.",
    "entries": [
        {"value": "/usr/bin/Git", "reason": "its job", "near_miss": "/usr/bin/gitty"},
        {"value": "/opt/*", "example": "/opt/x", "reason": "ours", "near_miss": "/home/opt/x"},
    ],
}
DETECTION = {
    "key": {"TargetFilename|endswith": "/id_rsa", "Errno": ""},
    "filter": {"Image|expand": "%readers%"},
    "condition": "key and not filter",
}


def made(**changes: object) -> bytes:
    return yaml.safe_dump({key: value for key, value in {**LIST, **changes}.items() if value is not None}).encode()


def entry(**changes: object) -> list[dict[str, Any]]:
    return [{key: value for key, value in {**LIST["entries"][1], **changes}.items() if value is not None}]


def with_list(detection: dict[str, Any]) -> list[Rule]:
    content = yaml.safe_dump(rule(detection=detection)).encode()
    return load_rule("a.yml", content, {"readers": load_list("lists/readers.yml", made())})


def by(image: str) -> str:
    return f'import target 4 process.exec image={image} argv=["x"]'


READ = "import target 4 file.read path=/home/dev/.ssh/id_rsa"


@pytest.mark.parametrize(
    ("image", "fires"),
    [("/usr/bin/git", False), ("/usr/bin/gitty", True), ("/opt/x", False), ("/home/opt/x", True)],
)
def test_a_list_stands_for_each_of_its_entries(image: str, fires: bool) -> None:
    assert bool(findings(with_list(DETECTION), told(by(image), READ))) is fires


def test_case_counts_where_the_rule_says_so() -> None:
    cased = with_list({**DETECTION, "filter": {"Image|cased|expand": "%readers%"}})
    assert findings(cased, told(by("/usr/bin/git"), READ))
    assert not findings(cased, told(by("/usr/bin/Git"), READ))


def test_a_list_mixes_with_other_values_and_can_be_negated() -> None:
    mixed = with_list({**DETECTION, "filter": {"Image|expand": ["%readers%", "/bin/sh"]}})
    assert not findings(mixed, told(by("/bin/sh"), READ))
    negated = with_list({**DETECTION, "filter": {"Image|expand|neq": "%readers%"}, "condition": "key and filter"})
    assert not findings(negated, told(by("/opt/x"), READ))
    assert findings(negated, told(by("/bin/sh"), READ))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"Image|expand": "%reader%"}, "unknown list 'reader'; did you mean 'readers'?"),
        ({"Image|expand|startswith": "%readers%"}, "with `expand`, `cased` and `neq` alone"),
        ({"Image|contains|expand": "%readers%"}, "with `expand`, `cased` and `neq` alone"),
        ({"Image|expand|all": ["%readers%", "/x"]}, "with `expand`, `cased` and `neq` alone"),
        ({"Image|re|expand": "%readers%"}, "with `expand`, `cased` and `neq` alone"),
        ({"Image|expand": "/x/%readers%"}, "a list stands alone"),
    ],
)
def test_a_list_is_not_used_beyond_what_its_near_misses_prove(selection: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=r"^a\.yml:[0-9]+: ") as error:
        with_list({**DETECTION, "filter": selection})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": None}, "missing required field `title`"),
        ({"name": "x"}, "unknown key of a list 'name'"),
        ({"entries": []}, "the list is empty"),
        ({"entries": entry(reason=None)}, "missing required field `reason`"),
        ({"entries": entry(reason=" ")}, "needs a reason and a near_miss"),
        ({"entries": entry(near_miss="")}, "needs a reason and a near_miss"),
        ({"entries": entry(near_miss=None)}, "missing required field `near_miss`"),
        ({"entries": entry(near_miss="/OPT/y")}, "near_miss '/OPT/y' is in the list"),
        ({"entries": entry(example=None)}, "has wildcards; add an `example`"),
        ({"entries": entry(example="/usr/x")}, "example '/usr/x' does not match '/opt/*'"),
        ({"entries": LIST["entries"] + entry(value="/usr/bin/Git", example=None)}, "stands twice"),
        ({"entries": entry(note="x")}, "unknown field `note`"),
    ],
)
def test_each_mistake_in_a_list_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=r"^lists/readers\.yml:[0-9]+: ") as error:
        load_list("lists/readers.yml", made(**changes))
    assert message in str(error.value)


def test_a_list_is_one_document() -> None:
    with pytest.raises(RuleError, match="one YAML document"):
        load_list("lists/readers.yml", made() + b"---\n" + made())


def test_lists_load_with_the_rules_and_count_in_their_digest(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "a.yml").write_bytes(yaml.safe_dump(rule(detection=DETECTION)).encode())
    (tmp_path / "lists" / "readers.yml").write_bytes(made())
    rules = load_rules(tmp_path)
    assert [it.name for it in rules.rules] == ["a"]
    assert list(load_lists(tmp_path)) == ["readers"]
    (tmp_path / "lists" / "readers.yml").write_bytes(made(description="Other words."))
    assert load_rules(tmp_path).digest != rules.digest
