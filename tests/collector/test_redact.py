"""No value of a planted secret leaves the bundle, however it is quoted."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.manifest import Bait
from collector.redact import EXCERPT, Redactor, excerpt, mark
from collector.text import parse, render
from tests.collector.bundles import AWS_VALUE, BAITS, SSH_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable

REDACTOR = Redactor.of(BAITS)


def make_bait(name: str, value: str) -> Bait:
    return Bait(name=name, kind="test", where="env:X", value=value)


def test_plain_escaped_encoded_and_lower_case_values_go() -> None:
    for value in (AWS_VALUE, SSH_VALUE):
        for form in (value, json.dumps(value), quote(value, safe=""), value.lower()):
            shown = REDACTOR.text(f"before {form} after")
            assert shown.startswith("before ")
            assert shown.endswith(" after")
            assert "\u2039bait:" in shown
            assert value.splitlines()[-2 if "\n" in value else 0].lower() not in shown.lower()


def test_one_line_of_a_key_goes_too() -> None:
    assert REDACTOR.text("x=QmFpdEJhaXRCYWl0QmFpdA==") == f"x={mark('ssh-private-key')}"


def test_a_value_that_contains_another_wins() -> None:
    redactor = Redactor.of([make_bait("inner", "innersecret"), make_bait("outer", "http://u:innersecret@h")])
    assert redactor.text("[http://u:innersecret@h] [innersecret]") == f"[{mark('outer')}] [{mark('inner')}]"


def test_the_text_of_events_is_redacted_after_escaping() -> None:
    event = parse(f"import target 1 http.request method=POST host=c.test target=/ body={json.dumps('k=' + SSH_VALUE)}")
    shown = REDACTOR.text(render(event))
    assert mark("ssh-private-key") in shown
    assert "QmFpdEJhaXRCYWl0QmFpdA" not in shown


def test_short_and_empty_values_do_not_eat_the_text() -> None:
    redactor = Redactor.of([make_bait("empty", ""), make_bait("blank", " \n"), make_bait("short", "dev")])
    assert redactor.text("/home/dev a") == "/home/dev a"


def test_special_characters_of_a_value_are_no_pattern() -> None:
    assert Redactor.of([make_bait("odd", "a.*(b)+[c]|$")]).text("xa.*(b)+[c]|$x axbc") == f"x{mark('odd')}x axbc"


class Inner(msgspec.Struct, frozen=True):
    words: tuple[str, ...]
    children: tuple[Inner, ...] = ()


class Outer(msgspec.Struct, frozen=True):
    table: dict[str, str]
    inner: Inner


def test_structs_are_redacted_to_the_bottom() -> None:
    value = Outer({AWS_VALUE: AWS_VALUE}, Inner((), (Inner((f"--key={AWS_VALUE}", "fine")),)))
    shown = REDACTOR.struct(value)
    assert AWS_VALUE not in repr(shown)
    assert shown.inner.children[0].words == (f"--key={mark('aws-secret-access-key')}", "fine")


WORDS = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(categories=["Cs", "Lu", "Cc"]), max_size=6),
    st.sampled_from([AWS_VALUE, f"x {AWS_VALUE.upper()}\n", AWS_VALUE[:20], AWS_VALUE[20:], *SSH_VALUE.splitlines()]),
)


@given(st.dictionaries(st.text(max_size=4), WORDS, max_size=3), st.lists(WORDS, max_size=5))
def test_a_struct_is_redacted_as_each_of_its_strings_is(table: dict[str, str], words: list[str]) -> None:
    def alone(text: str) -> str:
        return REDACTOR.text(text.encode("utf-8", "backslashreplace").decode())

    shown = REDACTOR.struct(Outer(table, Inner((), (Inner(tuple(words)),))))
    assert shown.inner.children[0].words == tuple(map(alone, words))
    assert shown.table == {alone(key): alone(value) for key, value in table.items()}


def test_excerpt_says_what_is_missing() -> None:
    assert excerpt("a" * EXCERPT) == "a" * EXCERPT
    assert excerpt("a" * 12, 10) == "aaaaaaaaaa… (+2 characters)"


@pytest.mark.parametrize(
    ("encode", "name"),
    [
        (lambda data: base64.b64encode(b"xy" + data).decode(), "base64"),
        (lambda data: base64.b64encode(data).decode().lower(), "base64"),
        (lambda data: quote(base64.b64encode(data).decode(), safe=""), "base64"),
        (lambda data: base64.b32encode(data).decode(), "base32"),
        (lambda data: data.hex().upper(), "hex"),
        (lambda data: data[::-1].decode(), "reversed"),
        (lambda data: base64.b64encode(data).decode()[::-1], "reversed+base64"),
        (lambda data: base64.b85encode(data).decode(), "base85"),
    ],
)
def test_encoded_values_go_too_and_the_mark_names_the_encoding(encode: Callable[[bytes], str], name: str) -> None:
    shown = REDACTOR.text(f"é before {encode(AWS_VALUE.encode())} after")
    assert mark(f"aws-secret-access-key/{name}") in shown
    assert shown.startswith("é before ")
    assert shown.endswith(" after")
    # At most what encodes neighbours too is left, beside the mark.
    assert len(shown) < len("é before  after") + len(mark(f"aws-secret-access-key/{name}")) + 8
