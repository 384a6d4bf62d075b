"""Sigma's strings with wildcards as tests over Python strings, in time linear in the string."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sigma.types import SigmaString, SpecialChars

from collector.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Test: TypeAlias = "Callable[[str], bool]"


@dataclass(frozen=True, slots=True)
class Glob:
    """A string pattern: pieces between `*`, each a run of characters in which None stands for `?`."""

    pieces: tuple[tuple[str | None, ...], ...]

    @property
    def plain(self) -> tuple[str, ...] | None:
        """The pieces as strings when there is no `?` in them, else None."""
        if any(part is None for piece in self.pieces for part in piece):
            return None
        return tuple("".join(part for part in piece if part is not None) for piece in self.pieces)


def glob_of(value: SigmaString, *, cased: bool, anywhere: bool = False) -> Glob:
    """Read a string value as pySigma has parsed it.

    Args:
        value: The value, escapes and modifiers already applied.
        cased: Keep the case; otherwise the pattern is for strings in lower case.
        anywhere: Let it stand anywhere in the string, as keywords do.

    Returns:
        The pattern.

    Raises:
        RuleError: The value holds a placeholder (`expand`), which nothing here fills in.
    """
    pieces: list[list[str | None]] = [[]]
    for part in value.s:
        if isinstance(part, str):
            pieces[-1].append(part if cased else part.lower())
        elif part is SpecialChars.WILDCARD_MULTI:
            pieces.append([])
        elif part is SpecialChars.WILDCARD_SINGLE:
            pieces[-1].append(None)
        else:
            raise RuleError(f"the placeholder in {str(value)!a} stands where no list can; write the values out")
    if anywhere:
        pieces = [[], *pieces, []]
    return Glob(tuple(tuple(piece) for piece in pieces))


def any_of(globs: Sequence[Glob]) -> Test:
    """Combine patterns into one test.

    Args:
        globs: Patterns, at least one.

    Returns:
        A function that says whether a string matches any of them.
    """
    exact: set[str] = set()
    prefixes: list[str] = []
    suffixes: list[str] = []
    inside: list[str] = []
    tests: list[Test] = []
    for glob in globs:
        match glob.plain:
            case (whole,):
                exact.add(whole)
            case (prefix, ""):
                prefixes.append(prefix)
            case ("", suffix):
                suffixes.append(suffix)
            case ("", needle, ""):
                inside.append(needle)
            case _:
                tests.append(_general(glob))
    if exact:
        tests.append(frozenset(exact).__contains__)
    if prefixes:
        tests.append(_starts(tuple(prefixes)))
    if suffixes:
        tests.append(_ends(tuple(suffixes)))
    if inside:
        tests.append(_holds(tuple(inside)))
    return tests[0] if len(tests) == 1 else _either(tuple(tests))


def _starts(prefixes: tuple[str, ...]) -> Test:
    return lambda text: text.startswith(prefixes)


def _ends(suffixes: tuple[str, ...]) -> Test:
    return lambda text: text.endswith(suffixes)


def _holds(needles: tuple[str, ...]) -> Test:
    if len(needles) == 1:
        needle = needles[0]
        return lambda text: needle in text

    def test(text: str) -> bool:
        for needle in needles:  # noqa: SIM110 - a generator costs more than the search
            if needle in text:
                return True
        return False

    return test


def _either(tests: tuple[Test, ...]) -> Test:
    return lambda text: any(test(text) for test in tests)


def _general(glob: Glob) -> Test:
    """Match piece after piece, each at its first place: for `*` that is as good as any other and never goes back."""
    first, *rest = glob.pieces
    if not rest:
        whole = _regex([first])
        return lambda text: whole.fullmatch(text) is not None
    head, tail = _regex([first]), _regex([rest[-1]])
    tail_length = _length(rest[-1])
    middle = tuple(_regex([piece]) for piece in rest[:-1] if piece)

    def test(text: str) -> bool:
        start = head.match(text)
        if start is None:
            return False
        position = start.end()
        for piece in middle:
            found = piece.search(text, position)
            if found is None:
                return False
            position = found.end()
        end = len(text) - tail_length
        return end >= position and tail.match(text, end) is not None

    return test


def _length(piece: Iterable[str | None]) -> int:
    return sum(1 if part is None else len(part) for part in piece)


def _regex(pieces: Iterable[Iterable[str | None]]) -> re.Pattern[str]:
    return re.compile(
        "".join("." if part is None else re.escape(part) for piece in pieces for part in piece), re.DOTALL
    )
