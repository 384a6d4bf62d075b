"""YAML files that people write: read into types, with errors that say where and what to do."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from collector.located import Document, Sort, nearest


class _Error(Exception):
    pass


class _Part(msgspec.Struct, frozen=True):
    name: str
    size: int = 1


class _Whole(msgspec.Struct, frozen=True):
    parts: tuple[_Part, ...] = ()
    sizes: dict[Literal["small", "large"], int] | None = None
    share: float = 0.5
    on: bool = False
    day: str = ""


SORT = Sort("recipe", _Error, "write some keys")


def read(text: str) -> _Whole:
    return Document(text, "r.yaml", SORT).read(_Whole)


def test_a_file_becomes_a_struct() -> None:
    text = """\
parts:
  - {name: a}
  - name: b
    size: 1_000
sizes: {small: 1, large: 2}
share: 0.25
on: yes
day: 2026-11-28
"""
    assert read(text) == _Whole(
        parts=(_Part("a"), _Part("b", 1000)), sizes={"small": 1, "large": 2}, share=0.25, on=True, day="2026-11-28"
    )


def test_a_place_that_is_not_there_is_where_its_parent_is() -> None:
    document = Document("parts:\n  - name: a\n", "r.yaml", SORT)
    document.read(_Whole)
    place = document.place(("parts", "1", "colour"))
    assert (place.line, place.path, place.name) == (2, "parts.1.colour", "parts.1.colour")
    assert document.place(()).name == "the recipe"
    assert str(place.error("is odd")) == "r.yaml:2: is odd"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "r.yaml:1: the file is empty; write some keys"),
        ("null", "r.yaml:1: the recipe must be a mapping of keys to values"),
        ("a: [", "r.yaml:1: not valid YAML: "),
        ("a: 1\nb: \x07", "r.yaml:1: not valid YAML: "),
        ("? [a]\n: 1", "r.yaml:1: a key must be plain text"),
        ("share: 1\nshare: 2", "r.yaml:2: key 'share' is given twice; keep one of them"),
        ("\nshar: 1", "r.yaml:2: unknown key 'shar' in the recipe; did you mean 'share'?"),
        ("colour: red", "unknown key 'colour' in the recipe; valid here: parts, sizes, share, on, day"),
        ("parts: {}", "r.yaml:1: parts must be a list"),
        ("parts:\n  - size: 2", "r.yaml:2: key 'name' is missing in parts.1"),
        ("sizes: {middle: 1}", "r.yaml:1: unknown key 'middle' in sizes; "),
        ("sizes: {small: 0o17}", "sizes.small: expected `int`, got `str`, found '0o17'"),
        ("sizes: {small: 0x1f}", "sizes.small: '0x1f' is not a plain decimal number"),
        ("share: [1]", "share must be one value, not a list"),
        ("share: {a: 1}", "share must be one value, not a mapping"),
        ("day: !!binary aGk=", "day: a value of type 'tag:yaml.org,2002:binary' has no place in a recipe"),
        ("day: !!python/name:os.system", "day: a value of type "),
        (f"share: {'x' * 200}", "…"),
        ("sizes: null", "sizes must be a mapping of keys to values"),
        ("day: null", "day: expected `str`, got `null`, found None"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, says: str) -> None:
    with pytest.raises(_Error) as caught:
        read(text)
    assert says in str(caught.value)


def test_aliases_do_not_multiply_without_end() -> None:
    text = "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 8)}]\n" for at in range(6)
    )

    class _Nested(msgspec.Struct):
        a: tuple[int, ...]
        b: tuple[tuple[int, ...], ...]
        c: tuple[tuple[tuple[int, ...], ...], ...]
        d: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
        e: tuple[tuple[tuple[tuple[tuple[int, ...], ...], ...], ...], ...]
        f: tuple[int, ...] = ()
        g: tuple[int, ...] = ()

    with pytest.raises(_Error, match="this file holds too many values for a recipe; remove some"):
        Document(text, "r.yaml", SORT).read(_Nested)


def test_deep_nesting_is_told() -> None:
    with pytest.raises(_Error, match="not valid YAML"):
        Document("[" * 400, "r.yaml", SORT)


def test_the_nearest_word() -> None:
    assert nearest("sise", ["size", "name"]) == "did you mean 'size'?"
    assert nearest("x", []) == "nothing is valid here"
