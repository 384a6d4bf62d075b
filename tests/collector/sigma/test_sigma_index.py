"""The index only spares work: what it finds is what trying every selection finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.sigma.index import RuleIndex
from collector.sigma.load import load_rules
from collector.sigma.needs import Need
from collector.sigma.regex import pieces_of
from collector.sigma.rule import RuleSet, Selection, selections_of
from tests.collector.sigma.sigmas import context, selection, told

RULES = Path(__file__).parents[3] / "profiles" / "rules"
WORDS = (
    "a",
    "A",
    "ab",
    "b",
    "/",
    "/a",
    "x.b",
    "\N{GREEK CAPITAL LETTER SIGMA}",
    "\N{GREEK SMALL LETTER SIGMA}",
    "\N{GREEK SMALL LETTER FINAL SIGMA}",
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}",
    "i",
    "ß",
    "\0",
    "*",
    "?",
    "",
    "443",
    "true",
    "import",
)
FIELDS = (
    "TargetFilename",
    "Image",
    "CommandLine",
    "Ancestors",
    "HomePath",
    "Phase",
    "Errno",
    "DestinationPort",
    "Bait",
)
MODIFIERS = ("", "|contains", "|startswith", "|endswith", "|cased", "|contains|cased", "|re", "|neq", "|exists")

words = st.lists(st.sampled_from(WORDS), max_size=3).map("".join)


@st.composite
def field_tests(draw: st.DrawFn) -> dict[str, object]:
    field, modifier = draw(st.sampled_from(FIELDS)), draw(st.sampled_from(MODIFIERS))
    if modifier == "|exists":
        return {f"{field}|exists": draw(st.booleans())}
    if modifier == "|re":
        return {
            f"{field}|re": draw(
                st.sampled_from(
                    (
                        "^a",
                        "b$",
                        "[a-b]{2}",
                        "443",
                        "(?i)A/",
                        "(ab|x.)b?",
                        "a+/",
                        "(?i)\N{GREEK SMALL LETTER SIGMA}",
                        "(a|b|)x",
                    )
                )
            )
        }
    values: list[object] = draw(st.lists(words, min_size=1, max_size=2))
    if not modifier:
        values += draw(st.lists(st.sampled_from((443, True, None)), max_size=1))
    return {field + modifier: values if len(values) > 1 else values[0]}


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    parts = {f"s{number}": draw(field_tests()) for number in range(draw(st.integers(1, 3)))}
    condition = "s0"
    for name in list(parts)[1:]:
        condition = draw(st.sampled_from(("{} and {}", "{} or {}", "{} and not {}", "not {} or {}"))).format(
            condition, name
        )
    return selection(yaml.safe_dump({**parts, "condition": condition}))


@st.composite
def lines(draw: st.DrawFn) -> str:
    path = json.dumps(draw(words))
    head = f"{draw(st.sampled_from(('import', 'install')))} target {draw(st.integers(1, 3))}"
    return draw(
        st.sampled_from(
            (
                f"{head} file.read path={path}",
                f"{head} file.read path={path} errno=ENOENT",
                f"{head} process.exec image={path} argv=[{path}]",
                f"{head} network.connect ip=192.0.2.1 port=443 host={path}",
                f"{head} http.request method=GET host=x.test target={path} bait=[{path}]",
            )
        )
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(selections(), min_size=1, max_size=6), st.lists(lines(), min_size=1, max_size=8))
def test_the_index_changes_no_answer(made: list[Selection], text: list[str]) -> None:
    events = told(*text)
    where = context(events)
    indexed = RuleIndex(made, few=0).evaluate(events, where)
    plain = RuleIndex(made, few=len(made)).evaluate(events, where)
    assert [[at for at, _ in hits] for hits in indexed] == [[at for at, _ in hits] for hits in plain]


def test_the_index_changes_no_answer_of_the_shipped_rules() -> None:
    rules = load_rules(RULES)
    made = [it for rule in rules.rules for it in selections_of(rule)]
    blocks = [block for path in sorted(RULES.rglob("*.yml")) for block in yaml.safe_load_all(path.read_text())]
    text = [line for block in blocks for it in block.get("fumehood", {}).get("examples", ()) for line in it["events"]]
    events = told(*text)
    where = context(events)
    indexed = RuleIndex(made, few=0).evaluate(events, where)
    plain = RuleIndex(made, few=len(made)).evaluate(events, where)
    assert [[at for at, _ in hits] for hits in indexed] == [[at for at, _ in hits] for hits in plain]
    assert sum(map(len, indexed)) > 100


@pytest.mark.parametrize(
    ("detection", "needs"),
    [
        ("sel: {TargetFilename|endswith: /ID_rsa}", [("TargetFilename", "/id_rsa", False, True)]),
        ("sel: {TargetFilename|startswith: /a, Errno: ''}", [("TargetFilename", "/a", True, False)]),
        ("sel: {TargetFilename: '/home/*/x?longest*'}", [("TargetFilename", "longest", False, False)]),
        ("sel: {Image: [/a, /b]}", [("Image", "/a", True, True), ("Image", "/b", True, True)]),
        ("sel: {Phase: import, Image|contains: curl}", [("Image", "curl", False, False)]),
        ("sel: {DestinationPort: 443}", [("DestinationPort", "443", True, True)]),
        ("sel: {Errno: ''}", [("Errno", "", True, True)]),
        ("sel: {TargetFilename: '*'}", None),
        ("sel: {TargetFilename|re: 'ab[cd]'}", [("TargetFilename", "ab", False, False)]),
        ("sel: {TargetFilename|re: '[ab]'}", None),
        ("sel: {TargetFilename|contains|cased: äa}", None),
        ("sel: [curl]", None),
        ("{sel: {TargetFilename: /a}, condition: not sel}", None),
        ("{a: {TargetFilename: /a}, b: {Image|re: '.'}, condition: a or b}", None),
        ("{a: {TargetFilename: /a}, b: {Image|re: '.'}, condition: a and b}", [("TargetFilename", "/a", True, True)]),
    ],
)  # fmt: skip
def test_what_is_looked_for(detection: str, needs: list[tuple[str, str, bool, bool]] | None) -> None:
    found = selection(detection).needs
    assert found == (None if needs is None else {Need(*need) for need in needs})


@pytest.mark.parametrize(
    ("regex", "pieces"),
    [
        ("^/home/[^/]+/\\.x$", {"/home/"}),
        ("(curl|wget) .*", {"curl", "wget"}),
        ("(foo)+", {"foo"}),
        ("(foo)*bar", {"bar"}),
        ("(?i)KEY", {"key"}),
        ("(?:^|/)(?:za|ba)rc$", {"rc"}),
        ("abc|", None),
        ("sss", None),  # without case the long s is an s
        ("ä", None),
        ("x?", None),
        ("[[:alpha:]]x", None),
        ("\\pNabc", None),
        ("", None),
    ],
)
def test_what_a_regular_expression_needs(regex: str, pieces: set[str] | None) -> None:
    assert pieces_of(regex) == pieces


def test_what_is_remembered_does_not_grow_without_bound() -> None:
    index = RuleIndex([selection("sel: {TargetFilename|contains: needle}")], few=0)
    events = told(*(f"import target 4 file.read path=/{number}" for number in range(10_000)))
    [hits] = index.evaluate([*events, *told("import target 4 file.read path=/needle")], context(events))
    assert [at for at, _ in hits] == [10_000]
    [(_, finder)] = index._plans[type(events[0])].finders
    assert 0 < len(finder) <= 4096


def test_a_set_of_rules_is_indexed_once() -> None:
    rules = RuleSet((), "")
    assert rules.index is rules.index
