"""Rule files: what loads, and what each mistake is told."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from collector.errors import RuleError
from collector.sigma.load import load_rule, load_rules
from tests.collector.sigma.sigmas import ID, OTHER_ID, RULE, load, rule

if TYPE_CHECKING:
    from pathlib import Path

READ = "import target 4 file.read path=/home/dev/.ssh/id_rsa"


def write(directory: Path, name: str, *documents: dict[str, Any]) -> bytes:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump_all(documents, sort_keys=False).encode()
    path.write_bytes(content)
    return content


def examples(*more: dict[str, Any], why: str = "because") -> dict[str, Any]:
    return {"why": why, "examples": [*RULE["fumehood"]["examples"], *more]}


def test_a_rule_tells_about_itself() -> None:
    [made] = load(rule(description="Reads.\n"), name="credentials/key-read.yml")
    assert (made.id, made.name, made.path) == (ID, "key-read", "credentials/key-read.yml")
    assert (made.title, made.level, made.attack, made.nursery) == ("A key is read", "high", ("T1552.004",), False)
    assert (made.description, made.why, made.falsepositives) == ("Reads.", "Keys open doors.", ("backup tools",))


def test_a_directory_is_read_in_order_with_its_nursery(tmp_path: Path) -> None:
    first = write(tmp_path, "b.yml", rule())
    second = write(tmp_path, "nursery/a.yml", rule(id=OTHER_ID))
    (tmp_path / "README.md").write_text("not a rule")
    rules = load_rules(tmp_path)
    assert [(made.name, made.nursery) for made in rules.rules] == [("b", False), ("a", True)]
    expected = hashlib.sha256()
    for name, content in (("b.yml", first), ("nursery/a.yml", second)):
        expected.update(f"{name}\0{len(content)}\0".encode() + content)
    assert rules.digest == expected.hexdigest()


def test_the_digest_depends_on_names_and_content_alone(tmp_path: Path) -> None:
    write(tmp_path / "one", "a.yml", rule())
    write(tmp_path / "two", "a.yml", rule())
    write(tmp_path / "three", "b.yml", rule())
    write(tmp_path / "four", "a.yml", rule(level="low"))
    digests = {name: load_rules(tmp_path / name).digest for name in ("one", "two", "three", "four")}
    assert digests["one"] == digests["two"]
    assert len(set(digests.values())) == 3


def test_a_directory_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="there are no rules"):
        load_rules(tmp_path)
    with pytest.raises(RuleError, match="there are no rules"):
        load_rules(tmp_path / "missing")


def test_a_file_that_would_be_overlooked_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", rule())
    write(tmp_path, "b.yaml", rule(id=OTHER_ID))
    with pytest.raises(RuleError, match=r"b\.yaml: .* rename it to b\.yml"):
        load_rules(tmp_path)


def test_ids_and_names_are_unique(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", rule())
    write(tmp_path, "b.yml", rule())
    with pytest.raises(RuleError, match=rf"b\.yml: id {ID} is taken by a\.yml"):
        load_rules(tmp_path)
    write(tmp_path, "b.yml", rule(id=OTHER_ID))
    (tmp_path / "b.yml").rename(tmp_path / "sub.yml")
    write(tmp_path, "sub/a.yml", rule(id="6cf21ee8-2b0d-4b4a-9c7d-0f3d7a0f0a03"))
    with pytest.raises(RuleError, match=r"sub/a\.yml: the name a is taken by a\.yml"):
        load_rules(tmp_path)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"id": None}, "no id; add `id:`"),
    ({"id": "seven"}, "must be an UUID"),
    ({"title": None}, "must have a title"),
    ({"level": None}, "no level; add `level:` with one of critical, high, medium, low, informational"),
    ({"level": "dire"}, "'dire' is not a valid Sigma rule level"),
    ({"logsource": None}, "must have a log source"),
    ({"logsource": {"product": "windows", "category": "file_access"}}, "`product: linux`"),
    ({"logsource": {"product": "linux", "service": "auditd"}}, "no service"),
    ({"logsource": {"product": "linux"}}, "no category; add one of process_creation"),
    ({"logsource": {"category": "file_acess"}}, "unknown category 'file_acess'; did you mean 'file_access'?"),
    ({"detection": None}, "must have a detection"),
    ({"detection": {"sel": {"Errno": ""}}}, "at least one condition"),
    (
        {"detection": {"sel": {"TargetFile": "/a"}, "condition": "sel"}},
        "unknown field of file_access 'TargetFile'; did you mean 'TargetFilename'?",
    ),
    ({"detection": {"sel": {"image": "/a"}, "condition": "sel"}}, "did you mean 'Image'?"),
    ({"detection": {"sel": {"Zzz": "/a"}, "condition": "sel"}}, "there are: Actor, Ancestors"),
    ({"detection": {"sel": {"Image|fieldref": "Zzz"}, "condition": "sel"}}, "unknown field of file_access 'Zzz'"),
    ({"detection": {"sel": {"Image|like": "/a"}, "condition": "sel"}}, "Unknown modifier 'like'"),
    ({"detection": {"sel": {"Image|re": "a("}, "condition": "sel"}}, "Regular expression 'a('"),
    ({"detection": {"sel": {"Image|re": "(?!a)b"}, "condition": "sel"}}, "another selection and `not`"),
    ({"detection": {"sel": {"Image|cidr": "a"}, "condition": "sel"}}, "Invalid CIDR"),
    ({"detection": {"sel": {"Image|expand": "%a%"}, "condition": "sel"}}, "unknown list 'a'"),
    ({"detection": {"sel": {"Image": "/a"}, "condition": "sel and"}}, "mend the condition"),
    ({"detection": {"sel": {"Image": "/a"}, "condition": "sel or other"}}, "'other' not defined"),
    (
        {"detection": {"sel": {"Image": "/a"}, "more": {"Image": "/b"}, "condition": "sel"}},
        "selection 'more' is not used",
    ),
    ({"detection": ["x"]}, "detection"),
    ({"related": [1]}, "docs/rules.md"),
    ({"tags": None}, "no ATT&CK technique is named"),
    ({"tags": ["attack.execution"]}, "no ATT&CK technique is named"),
    ({"tags": ["attack.t155"]}, "'attack.t155' is not a technique; write it like attack.t1552.001"),
    ({"tags": ["attack.1552.001"]}, "is not a technique"),
    ({"tags": ["execution"]}, "must start with namespace"),
    ({"levle": "high"}, "unknown key 'levle'; did you mean 'level'?"),
    ({"fumehood": None}, "add `fumehood:` with `why:`"),
    ({"fumehood": {"why": " ", "examples": []}}, "must say why it matters"),
    ({"fumehood": {"why": "x"}}, "missing required field `examples`"),
    ({"fumehood": {"why": "x", "examples": [], "wyh": 1}}, "unknown key of fumehood 'wyh'; did you mean 'why'?"),
    ({"fumehood": {"why": "x", "examples": [RULE["fumehood"]["examples"][1]]}}, "add an example with `match: true`"),
    ({"fumehood": {"why": "x", "examples": [RULE["fumehood"]["examples"][0]]}}, "add a near miss"),
    ({"fumehood": examples({"name": "n", "match": True, "events": [READ], "note": "x"})}, "unknown field `note`"),
    ({"fumehood": examples({"name": "n", "match": True, "events": []})}, "example 'n' has no events"),
    ({"fumehood": examples({"name": "n", "match": True, "events": [READ, "import target"]})}, "example 'n', event 2: "),
    (
        {"fumehood": examples({"name": "n", "match": True, "events": [f"{READ} errno=EACCES"]})},
        "example 'n' does not match, but says that it does",
    ),
    (
        {"fumehood": examples({"name": "n", "match": False, "events": [READ]})},
        "example 'n' matches, but says that it must not",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_each_mistake_is_told_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError, match=r"^sub/key-read\.yml:[0-9]+: ") as error:
        load(rule(**changes), name="sub/key-read.yml")
    assert message in str(error.value)


def test_the_line_is_that_of_the_mistake() -> None:
    content = yaml.safe_dump(rule(), sort_keys=False).replace("TargetFilename", "TargetName")
    line = next(number for number, text in enumerate(content.splitlines(), 1) if "TargetName" in text)
    with pytest.raises(RuleError, match=rf"^a\.yml:{line}: unknown field"):
        load_rule("a.yml", content.encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title: a\ntags: [x\nid: 1\n", r"a\.yml:3: not YAML"),
        (b"title: a\ntitle: b\n", r"a\.yml: not YAML: Duplicate key 'title'"),
        (b"title: \xff\n", r"a\.yml: not UTF-8 at byte 7"),
        (b"", r"a\.yml: the file is empty"),
        (b"- a\n- b\n", r"a\.yml: not YAML: line 1 begins a document that is not a mapping"),
        (b"title: &a [*a]\n", r"a\.yml"),
        (b"title: \x00\n", r"a\.yml: not YAML"),
    ],
)
def test_what_is_not_a_rule_file(content: bytes, message: str) -> None:
    with pytest.raises(RuleError, match=f"^{message}"):
        load_rule("a.yml", content)


def test_one_file_holds_one_rule() -> None:
    with pytest.raises(RuleError, match=r"key-read\.yml:[0-9]+: one file holds one rule"):
        load(rule(), rule(id=OTHER_ID))


def test_examples_can_be_spread_over_time() -> None:
    text = "{type: event_count, rules: [reads], timespan: 10s, condition: {gte: 2}}"
    base = {key: RULE[key] for key in ("title", "logsource", "detection")} | {"name": "reads"}
    near = {"name": "far apart", "match": False, "interval": 11, "events": [READ, READ]}
    both = {"name": "together", "match": True, "events": [READ, READ]}
    head = rule(
        logsource=None,
        detection=None,
        correlation=yaml.safe_load(text),
        fumehood={"why": "x", "examples": [near, both]},
    )
    assert [made.name for made in load(head, base)] == ["key-read"]


def test_messages_show_no_control_characters() -> None:
    with pytest.raises(RuleError) as error:
        load(rule(**{"ti\x1b[2Jtle": "x"}))
    assert re.search(r"[\x00-\x1f]", str(error.value)) is None
