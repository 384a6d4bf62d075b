"""The index only spares work: what it finds is what trying every selection finds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.sigma.index import RuleIndex, _Run
from collector.sigma.needs import Need
from collector.sigma.regex import Piece, pieces_of
from collector.sigma.rule import RuleSet, Selection, selections_of
from tests.collector.sigma.sigmas import (
    compiled,
    context,
    lines_of_examples,
    selection,
    shipped,
    told,
    tried_one_by_one,
)

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
    "installer",
    "file.read",
    "dependency:",
    "EACCES",
)
FIELDS = (
    "Kind",
    "Actor",
    "ProcessId",
    "auditd.success",
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
                        "^/(a|x[.])",
                        "(a|[.]b)$",
                        "(?i)sS$",
                        "(?m)^a$",
                        "^install",
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
    return compiled({**parts, "condition": condition})


@st.composite
def lines(draw: st.DrawFn) -> str:
    path = json.dumps(draw(words))
    actor = draw(st.sampled_from(("target", "installer", "dependency:a")))
    head = f"{draw(st.sampled_from(('import', 'install')))} {actor} {draw(st.integers(1, 3))}"
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


@settings(max_examples=200, deadline=None)
@given(st.lists(selections(), min_size=1, max_size=6), st.lists(lines(), min_size=1, max_size=8))
def test_the_index_changes_no_answer(made: list[Selection], text: list[str]) -> None:
    # Twice: the second time much is remembered, and programs have changed.
    events = told(*text, *text)
    where = context(events)
    expected = tried_one_by_one(made, events, where)
    assert RuleIndex(made, few=0).evaluate(events, where) == expected
    assert RuleIndex(made).evaluate(events, where) == expected


def test_the_index_changes_no_answer_of_the_shipped_rules() -> None:
    rules = shipped()
    made = [it for rule in rules.rules for it in selections_of(rule)]
    text = lines_of_examples(rules)
    events = told(*text)
    where = context(events)
    expected = tried_one_by_one(made, events, where)
    assert rules.index.evaluate(events, where) == expected
    assert rules.index.evaluate(events, where) == expected
    assert RuleSet(rules.rules, "").prepare().index.evaluate(events, where) == expected
    assert sum(map(len, expected)) > 100


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
        ("sel: {TargetFilename|re: '/site-packages/.+[.]zip$'}", [("TargetFilename", ".zip", False, True)]),
        ("sel: {TargetFilename|re|i: 'boss$'}", [("TargetFilename", "bo", False, False)]),
        ("sel: {TargetFilename|contains: site-packages, Image|contains: curl}", [("Image", "curl", False, False)]),
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
    ("regex", "sets"),
    [
        ("^/home/[^/]+/\\.x$", [{"/home/"}, {"/.x"}, {"^/home/"}, {"/.x$"}]),
        ("(curl|wget) .*", [{"curl", "wget"}, {" "}]),
        ("(foo)+", [{"foo"}]),
        ("(foo)*bar", [{"bar"}]),
        ("(?i)KEY", [{"key"}]),
        ("(?i)BoSS$", [{"bo"}]),
        ("(?i)bos$", [{"bo"}]),
        ("(?:^|/)(?:za|ba)rc$", [{"za", "ba"}, {"rc"}, {"zarc$", "barc$"}]),
        ("[.](py|so|pyd)$", [{"."}, {"py", "so", "pyd"}, {".py$", ".so$", ".pyd$"}]),
        ("(?m)^ab$", [{"ab"}]),
        ("^ab|cd$", [{"ab", "cd"}]),
        ("abc|", []),
        ("(?i)sss", []),  # without case the long s is an s
        ("ä", []),
        ("x?", []),
        ("[[:alpha:]]x", []),
        ("\\pNabc", []),
        ("", []),
    ],
)
def test_what_a_regular_expression_needs(regex: str, sets: list[set[str]]) -> None:
    assert [{_written(piece) for piece in pieces} for pieces in pieces_of(regex)] == sets


def test_of_many_alternatives_none_is_written_out() -> None:
    many = "(aa|ba)" * 8
    assert max(map(len, pieces_of(f"{many}$"))) <= 64
    assert max(map(len, pieces_of(f"(x{many})$"))) <= 64


def _written(piece: Piece) -> str:
    return f"{'^' * piece.first}{piece.text}{'$' * piece.last}"


def test_what_is_remembered_does_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    # Smaller than what the events say, so that it is forgotten again and again.
    monkeypatch.setattr("collector.sigma.index._REMEMBERED", 16)
    monkeypatch.setattr("collector.sigma.index._SETTINGS", 2)
    monkeypatch.setattr("collector.sigma.finder._REMEMBERED", 2)
    made = [
        selection("sel: {TargetFilename|contains: needle}"),
        selection("sel: {Image|contains: ed}"),
        selection("sel: {Phase: startup}"),
    ]
    text = [
        f"{phase} target {4 + number % 3} file.read path=/{number % 50}{'needle' * (number % 7 == 0)}"
        for number in range(300)
        for phase in ("install", "startup", "import")
    ]
    shells = [f"import target {pid} process.exec image=/bin/{name}" for pid, name in ((4, "ed"), (5, "a"), (6, "red"))]
    events = told(*shells, *text)
    where = context(events)
    assert RuleIndex(made, few=0).evaluate(events, where) == tried_one_by_one(made, events, where)


def test_long_texts_are_not_remembered() -> None:
    index = RuleIndex([selection("sel: {TargetFilename|contains: needle}")], few=0)
    run = _Run(index, context([]))
    for event in told("import target 4 file.read path=/needle", f"import target 4 file.read path=/needle{'x' * 600}"):
        setting = run.meet(0, event)
        assert run.answer(setting, setting.said(event), event).matched == (0,)
        assert len(setting.answers) == (len(setting.said(event)) < 512)


def test_a_set_of_rules_is_indexed_once() -> None:
    rules = RuleSet((), "")
    index = rules.index
    assert rules.prepare().index is index
