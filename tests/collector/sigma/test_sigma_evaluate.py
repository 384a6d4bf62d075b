"""Each form of value, modifier and condition, against events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigma.exceptions import SigmaError

from collector.errors import RuleError
from tests.collector.sigma.sigmas import fires, selection

READ = "import target 4 file.read path={}"
DIAL = "import target 4 network.connect ip={} port={}"


def read(path: str) -> str:
    return READ.format(path)


EXEC = 'install target 9 process.exec image=/bin/sh argv=["sh","-c","{}"] parent=3 parent_image=/usr/bin/python3.11'


@pytest.mark.parametrize(
    ("detection", "hits", "misses"),
    [
        # plain strings are compared whole and without regard to case
        ("sel: {TargetFilename: /etc/Shadow}", ["/etc/shadow", "/ETC/SHADOW"], ["/etc/shadow2", "/x/etc/shadow"]),
        ("sel: {TargetFilename|cased: /etc/Shadow}", ["/etc/Shadow"], ["/etc/shadow"]),
        # wildcards, and what escapes them
        (
            "sel: {TargetFilename: '/home/*/.ssh/*'}",
            ["/home/a/.ssh/b", "/home/a/b/.ssh/"],
            ["/home/.ssh/b", "/home/a/.ssh"],
        ),
        ("sel: {TargetFilename: '/a/?.txt'}", ["/a/b.txt"], ["/a/.txt", "/a/bb.txt"]),
        ("sel: {TargetFilename: '*/a?c*d'}", ["/abcd", "/x/aXc/y/d"], ["/acd", "/abcde"]),
        ("sel: {TargetFilename: '/a\\*b'}", ["/a*b"], ["/axb"]),
        ("sel: {TargetFilename: '/a\\?b'}", ['"/a?b"'], ["/axb"]),
        ("sel: {TargetFilename: '*'}", ["/anything"], []),
        ("sel: {TargetFilename: 'a*a'}", ["aa", "aba"], ["a"]),
        ("sel: {TargetFilename: '*ab*ab*'}", ["abab", "xabxabx"], ["ab", "aab"]),
        # a list is any of, with `all` every
        ("sel: {TargetFilename: [/a, /b]}", ["/a", "/b"], ["/c"]),
        ("sel: {TargetFilename|contains: [x, y]}", ["/x", "/y"], ["/z"]),
        ("sel: {TargetFilename|contains|all: [x, y]}", ["/x/y", "/y/x"], ["/x", "/y"]),
        ("sel: {TargetFilename|startswith: [/a/, /b/]}", ["/a/1", "/B/2"], ["/c/a/", "/a"]),
        ("sel: {TargetFilename|endswith: [.key, .pem]}", ["/a.KEY"], ["/a.key.txt"]),
        ("sel: {TargetFilename|contains: 'a*c'}", ["/xabcx"], ["/xa"]),
        ("sel: {TargetFilename|neq: /a}", ["/b"], ["/a"]),
        # a detection's items are all needed, of a list of them any
        ("sel: {TargetFilename|startswith: /a, TargetFilename|endswith: z}", ["/a/z"], ["/a", "/z"]),
        ("sel: [{TargetFilename: /a}, {TargetFilename: /b}]", ["/a", "/b"], ["/c"]),
        # regular expressions are searched for, with regard to case unless asked otherwise
        ("sel: {TargetFilename|re: '/[a-f]{2,4}[.]bin$'}", ["/x/abc.bin"], ["/x/ABC.bin", "/x/abc.bin2"]),
        ("sel: {TargetFilename|re|i: '/[a-f]+[.]bin$'}", ["/x/ABC.bin"], ["/x/xyz.bin"]),
        ("sel: {TargetFilename|re|s: '^/a.b$'}", ['"/a\\nb"'], ["/ab"]),
        ("sel: {TargetFilename|re: '^/a.b$'}", ["/axb"], ['"/a\\nb"']),
        ("sel: {TargetFilename|re|m: '^b$'}", ['"a\\nb"'], ["ab"]),
        # what is not Unicode is no way around a rule
        ("sel: {TargetFilename|re: 'secret'}", ['"/\\udc80secret"'], []),
    ],
)
def test_strings(detection: str, hits: list[str], misses: list[str]) -> None:
    compiled = selection(detection, "file_access")
    assert [path for path in hits if not fires(compiled, read(path))] == []
    assert [path for path in misses if fires(compiled, read(path))] == []


@pytest.mark.parametrize(
    ("detection", "hits", "misses"),
    [
        ("sel: {DestinationPort: 4444}", [("192.0.2.1", 4444)], [("192.0.2.1", 444)]),
        ("sel: {DestinationPort: '4444'}", [("192.0.2.1", 4444)], [("192.0.2.1", 444)]),
        ("sel: {DestinationPort: [25, 465]}", [("192.0.2.1", 25), ("192.0.2.1", 465)], [("192.0.2.1", 26)]),
        ("sel: {DestinationPort|gt: 1023}", [("192.0.2.1", 1024)], [("192.0.2.1", 1023)]),
        ("sel: {DestinationPort|gte: 1024}", [("192.0.2.1", 1024)], [("192.0.2.1", 1023)]),
        ("sel: {DestinationPort|lt: 1024}", [("192.0.2.1", 1023)], [("192.0.2.1", 1024)]),
        ("sel: {DestinationPort|lte: 1023}", [("192.0.2.1", 1023)], [("192.0.2.1", 1024)]),
        (
            "sel: {DestinationIp|cidr: 198.51.100.0/24}",
            [("198.51.100.9", 1), ("::ffff:198.51.100.9", 1)],
            [("192.0.2.1", 1), ("2001:db8::1", 1), ('"not an address"', 1)],
        ),
        (
            "sel: {DestinationIp|cidr: ['2001:db8::/32', 192.0.2.0/24]}",
            [("2001:db8::1", 1), ("192.0.2.7", 1)],
            [("198.51.100.9", 1)],
        ),
        ("sel: {Initiated: true}", [("192.0.2.1", 1)], []),
        ("sel: {Initiated: 'true'}", [("192.0.2.1", 1)], []),
        ("sel: {Initiated: 1}", [], [("192.0.2.1", 1)]),
        ("sel: {DestinationHostname: null}", [("192.0.2.1", 1)], [("192.0.2.1 host=a.test", 1)]),
        ("sel: {DestinationHostname: ''}", [("192.0.2.1", 1)], [("192.0.2.1 host=a.test", 1)]),
        ("sel: {DestinationHostname|exists: true}", [("192.0.2.1 host=a.test", 1)], [("192.0.2.1", 1)]),
        ("sel: {DestinationHostname|exists: false}", [("192.0.2.1", 1)], [("192.0.2.1 host=a.test", 1)]),
        (
            "sel: {DestinationHostname|fieldref: DestinationIp}",
            [("192.0.2.1 host=192.0.2.1", 1)],
            [("192.0.2.1 host=a.test", 1)],
        ),
        (
            "sel: {DestinationHostname|fieldref|startswith: DestinationIp}",
            [("192.0.2.1 host=192.0.2.1.test", 1)],
            [("192.0.2.1 host=a.192.0.2.1", 1)],
        ),
        (
            "sel: {DestinationHostname|fieldref|endswith: DestinationIp}",
            [("192.0.2.1 host=a.192.0.2.1", 1)],
            [("192.0.2.1 host=192.0.2.1.test", 1)],
        ),
        (
            "sel: {DestinationHostname|fieldref|contains: DestinationIp}",
            [("192.0.2.1 host=a.192.0.2.1.test", 1)],
            [("192.0.2.1 host=a.test", 1)],
        ),
    ],
)
def test_other_values(detection: str, hits: list[tuple[str, int]], misses: list[tuple[str, int]]) -> None:
    compiled = selection(detection, "network_connection")
    assert [at for at in hits if not fires(compiled, DIAL.format(*at))] == []
    assert [at for at in misses if fires(compiled, DIAL.format(*at))] == []


@pytest.mark.parametrize(
    ("detection", "hits", "misses"),
    [
        ("sel: {CommandLine|windash|contains: ' -c '}", ["true"], []),
        ("sel: {CommandLine|windash|contains: ' -enc '}", ["x /enc y", "x -enc y"], ["x enc y"]),
        ("sel: {CommandLine|base64|contains: secret-value}", ["echo c2VjcmV0LXZhbHVl"], ["echo secret-value"]),
        (
            "sel: {CommandLine|base64offset|contains: secret-value}",
            ["c2VjcmV0LXZhbHVl", "eHNlY3JldC12YWx1ZXg=", "eHhzZWNyZXQtdmFsdWV4"],
            ["secret-value"],
        ),
        ("sel: {CommandLine|wide|base64|contains: Get}", ["RwBlAHQA"], ["R2V0"]),
        # keywords: anywhere in any field
        ("sel: [curl, wget]", ["curl x", "/usr/bin/WGET"], ["fetch"]),
        ("sel: ['cu*x']", ["curl x"], ["wget y"]),
        ("sel: {'|all': [curl, x.test]}", ["curl http://x.test"], ["curl http://y.test"]),
        ("sel: {'|re': 'cu[r]l'}", ["curl x"], ["CURL x"]),
        ("sel: {'|cased': CURL}", ["CURL x"], ["curl x"]),
        ("sel: [4444]", ["nc x.test 4444"], ["nc x.test 443"]),
    ],
)
def test_encodings_and_keywords(detection: str, hits: list[str], misses: list[str]) -> None:
    compiled = selection(detection, "process_creation")
    assert [text for text in hits if not fires(compiled, EXEC.format(text))] == []
    assert [text for text in misses if fires(compiled, EXEC.format(text))] == []


@pytest.mark.parametrize(
    ("condition", "hits", "misses"),
    [
        ("sel_a", ["a", "ab"], ["b", "c"]),
        ("sel_a and sel_b", ["ab"], ["a", "b"]),
        ("sel_a or sel_b", ["a", "b", "ab"], ["c"]),
        ("sel_a and not sel_b", ["a"], ["ab", "b"]),
        ("not sel_a", ["b", "c"], ["a"]),
        ("sel_c or sel_a and sel_b", ["c", "ab"], ["a"]),
        ("(sel_c or sel_a) and sel_b", ["ab", "cb"], ["c", "a"]),
        ("1 of sel_*", ["a", "b"], ["d", "c"]),
        ("any of sel_*", ["a", "b"], ["d", "c"]),
        ("all of sel_*", ["ab"], ["a", "b"]),
        ("1 of them", ["a", "d"], ["x"]),
        ("all of them", ["abd"], ["ab"]),
        ("sel_a and not 1 of other*", ["a"], ["ad"]),
        ("[sel_a, sel_b]", ["a", "b"], ["d"]),
    ],
)
def test_conditions(condition: str, hits: list[str], misses: list[str]) -> None:
    third = "sel_c: {TargetFilename|contains: c}" if "sel_c" in condition else "other: {TargetFilename|contains: d}"
    compiled = selection(
        f"""
        sel_a: {{TargetFilename|contains: a}}
        sel_b: {{TargetFilename|contains: b}}
        {third}
        condition: {condition}
        """,
        "file_access",
    )
    assert [name for name in hits if not fires(compiled, read(name))] == []
    assert [name for name in misses if fires(compiled, read(name))] == []


def test_any_member_of_a_list_field_will_do() -> None:
    event = 'install target - http.request method=POST host=x.test target=/ bait=["aws-key/plain","npm-token/base64"]'
    assert fires(selection("sel: {Bait|endswith: /base64}"), event)
    assert not fires(selection("sel: {Bait|endswith: /hex}"), event)
    assert fires(selection("sel: {Bait|startswith: [github, npm]}"), event)
    assert not fires(selection("sel: {Bait: null}"), event)
    assert fires(selection("sel: {Bait: null}"), read("/a"))


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        ("sel: {TargetFilename|expand: '%user%'}", "placeholder"),
        ("sel: {TargetFilename|re|expand: 'a%user%'}", "placeholder"),
        ("sel: {DestinationPort|hour: 3}", "calendar"),
        ("sel: [true]", "name the field"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(detection: str, reason: str) -> None:
    with pytest.raises(RuleError, match=reason):
        selection(detection)


def test_a_selection_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SigmaError, match="nothing"):
        selection("{sel: {TargetFilename: /a}, condition: nothing}")


def test_a_rule_for_all_kinds_meets_only_those_it_can_match() -> None:
    compiled = selection(
        """
        net: {Kind: [network.connect, dns.query], HostRole: ''}
        own: {Kind|startswith: network, Protocol: udp}
        condition: net and not own
        """
    )
    assert {kind.__struct_config__.tag for kind in compiled.kinds} == {"network.connect", "dns.query"}
    assert fires(compiled, DIAL.format("192.0.2.1", 1))
    assert not fires(compiled, DIAL.format("192.0.2.1", 1) + " protocol=udp")
    assert not fires(compiled, DIAL.format("192.0.2.1", 1) + " role=registry")


def test_a_negated_selection_on_a_field_that_is_missing_matches() -> None:
    compiled = selection("{sel: {HostRole: registry}, condition: not sel}")
    assert fires(compiled, read("/a"))


LETTERS = "abcd"
_conditions = st.recursive(
    st.sampled_from(LETTERS),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=8,
)


def _written(tree: str | tuple[str, ...]) -> str:
    if isinstance(tree, str):
        return f"s{tree}"
    if tree[0] == "not":
        return f"(not {_written(tree[1])})"
    return f"({_written(tree[1])} {tree[0]} {_written(tree[2])})"


def _naive(tree: str | tuple[str, ...], text: str) -> bool:
    if isinstance(tree, str):
        return tree in text
    if tree[0] == "not":
        return not _naive(tree[1], text)
    left, right = _naive(tree[1], text), _naive(tree[2], text)
    return (left and right) if tree[0] == "and" else (left or right)


@given(_conditions, st.sets(st.sampled_from(LETTERS)))
def test_conditions_agree_with_a_naive_evaluation(tree: str | tuple[str, ...], letters: set[str]) -> None:
    selections = "".join(f"s{letter}: {{TargetFilename|contains: {letter}}}\n" for letter in LETTERS)
    compiled = selection(f"{selections}condition: {_written(tree)}\n")
    text = "/" + "".join(sorted(letters))
    assert fires(compiled, read(text)) is _naive(tree, text)


@given(st.text(alphabet="ab*?", min_size=1, max_size=8), st.text(alphabet="ab", max_size=10))
def test_wildcards_agree_with_a_naive_evaluation(pattern: str, text: str) -> None:
    def naive(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(naive(pattern[1:], text[start:]) for start in range(len(text) + 1))
        return bool(text) and pattern[0] in ("?", text[0]) and naive(pattern[1:], text[1:])

    compiled = selection(f"sel: {{TargetFilename: '{pattern}'}}")
    assert fires(compiled, f'import target 4 file.read path="{text}"') is naive(pattern, text)


def test_long_hostile_strings_do_not_make_wildcards_or_expressions_slow() -> None:
    hostile = "a" * 100_000
    line = f'import target 4 file.read path="{hostile}"'
    assert not fires(selection("sel: {TargetFilename: '*a*a*a*a*a*a*a*b'}"), line)
    assert not fires(selection("sel: {TargetFilename|re: '(a+)+$b'}"), line)
