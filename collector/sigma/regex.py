"""Regular expressions of rules as functions over strings."""

from __future__ import annotations

import re
from functools import lru_cache

# What the library's own compiler reads an expression into. There is no public way to it, and ours would be a worse one.
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final

import re2
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RegexEngine

from collector.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigma.types import SigmaRegularExpression

    from collector.sigma.strings import Test

_REMEMBERED: Final = 512
"""Answers that each expression remembers: thousands of events share their paths and command lines."""
_SHORT: Final = 256
"""Longest string, in characters, whose answer is remembered; long ones are rare, and would stay in memory."""


class _QuietEngine(RegexEngine):
    """RE2, which by itself writes every mistake to standard error beside raising it."""

    def compile(self, pattern: str, flags: int = 0) -> Any:  # noqa: ANN401 - the library has no type hints
        options = re2.Options()
        options.log_errors = False
        letters = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))
        given = "".join(letter for flag, letter in letters if flags & flag)
        return re2.compile(f"(?{given}){pattern}" if given else pattern, options)

    @property
    def error(self) -> Any:  # noqa: ANN401 - likewise
        return re2.error


POLICY: Final = SigmaPolicy(regex_engine=_QuietEngine())
"""With which pySigma reads rules: hostile strings cannot make RE2 backtrack."""


def regex_test(value: SigmaRegularExpression) -> Test:
    """Compile a regular expression of a rule.

    Args:
        value: As pySigma gives it.

    Returns:
        Whether a string holds a match.

    Raises:
        RuleError: It has a placeholder.
    """
    if value.regexp.contains_placeholder():
        raise RuleError(f"the placeholder in {str(value.regexp)!a} stands where no list can; write the values out")
    flags = re.NOFLAG
    for flag in value.flags:
        flags |= value.sigma_to_python_flags[flag]
    # pySigma's engine is RE2: hostile strings cannot make it backtrack, so their length need not be bounded here.
    search = POLICY.regex_engine.compile(str(value.regexp), flags).search

    def test(text: str) -> bool:
        try:
            return search(text) is not None
        except UnicodeEncodeError:
            # RE2 works on UTF-8, which has no place for the halves of surrogate pairs.
            return search(text.encode("utf-8", "replace").decode()) is not None

    remembered = lru_cache(_REMEMBERED)(test)

    def predicate(text: str) -> bool:
        return remembered(text) if len(text) <= _SHORT else test(text)

    return predicate


def pieces_of(regex: str) -> frozenset[str] | None:
    """Find what a string must hold so that an expression can be found in it.

    Args:
        regex: An expression of RE2.

    Returns:
        Pieces in lower case of which any match has one; None when there is none to name. What Python reads otherwise
        than RE2 is not read.
    """
    if "[:" in regex:
        return None
    try:
        parsed = parser.parse(regex)
    except (re.error, OverflowError, RecursionError):
        return None
    found = _required(parsed)
    return None if found is None or not all(found) else found


def _required(sequence: Iterable[tuple[object, Any]]) -> frozenset[str] | None:
    """Give the alternatives, one of which is in every match; of several such sets the one with the longest."""
    sets: list[frozenset[str]] = []
    run = ""
    for kind, value in sequence:
        if kind is kinds.LITERAL and _plain(value):
            run += chr(value).lower()
            continue
        sets.append(frozenset({run}))
        run = ""
        inner = _inside(kind, value)
        if inner is not None:
            sets.append(inner)
    sets.append(frozenset({run}))
    best = max(sets, key=lambda pieces: (min(map(len, pieces)), -len(pieces)))
    return best if all(best) else None


def _inside(kind: object, value: Any) -> frozenset[str] | None:  # noqa: ANN401 - what it is depends on the kind
    if kind is kinds.SUBPATTERN:
        return _required(value[-1])
    if kind in {kinds.MAX_REPEAT, kinds.MIN_REPEAT}:
        least, _, inner = value
        return _required(inner) if least else None
    if kind is kinds.BRANCH:
        together: set[str] = set()
        for branch in value[1]:
            pieces = _required(branch)
            if pieces is None:
                return None
            together |= pieces
        return frozenset(together)
    return None


def _plain(code: int) -> bool:
    """Whether a character is found in lower case wherever it is found: `s`, without case, also is the long s."""
    return chr(code).isascii() and chr(code) not in "sS"
