"""Regular expressions of rules as functions over strings."""

from __future__ import annotations

import re
from functools import lru_cache

# What the library's own compiler reads an expression into. There is no public way to it, and ours would be a worse one.
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import re2
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RegexEngine

from collector.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sigma.types import SigmaRegularExpression

    from collector.sigma.strings import Test

_REMEMBERED: Final = 512
"""Answers that each expression remembers: thousands of events share their paths and command lines."""
_SHORT: Final = 256
"""Longest string, in characters, whose answer is remembered; long ones are rare, and would stay in memory."""

_LETTERS: Final = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))
_WRITTEN_OUT: Final = 64
"""Most alternatives that are written out."""
_FOLDS: Final = re.compile(r"\(\?[a-zA-Z]*i")
_LINES: Final = re.compile(r"\(\?[a-zA-Z]*m")
"""Flags inside an expression: either case; the ends of lines count as ends."""
_BEGINNING: Final = (kinds.AT, kinds.AT_BEGINNING)
_END: Final = (kinds.AT, kinds.AT_END)
_Item: TypeAlias = "tuple[object, Any]"
"""A part of an expression as the library has read it: kind and value."""


class _QuietEngine(RegexEngine):
    """RE2, which by itself writes every mistake to standard error beside raising it."""

    def compile(self, pattern: str, flags: int = 0) -> Any:  # noqa: ANN401 - the library has no type hints
        options = re2.Options()
        options.log_errors = False
        given = "".join(letter for flag, letter in _LETTERS if flags & flag)
        return re2.compile(f"(?{given}){pattern}" if given else pattern, options)

    @property
    def error(self) -> Any:  # noqa: ANN401 - likewise
        return re2.error


POLICY: Final = SigmaPolicy(regex_engine=_QuietEngine())
"""With which pySigma reads rules: hostile strings cannot make RE2 backtrack."""


def written_with_flags(value: SigmaRegularExpression) -> str:
    """Give a regular expression with its flags inside."""
    flags = "".join(
        letter for flag, letter in _LETTERS if any(value.sigma_to_python_flags[it] == flag for it in value.flags)
    )
    return f"(?{flags}){value.regexp}" if flags else str(value.regexp)


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


class Piece(NamedTuple):
    """Something that a string must hold, in lower case."""

    text: str
    first: bool = False
    """The string begins with it."""
    last: bool = False
    """The string ends with it."""


Pieces: TypeAlias = frozenset[Piece]
"""Any string that matches holds one of them."""


@lru_cache(_REMEMBERED)
def pieces_of(regex: str) -> tuple[Pieces, ...]:
    """Find what a string must hold so that an expression can be found in it.

    Args:
        regex: An expression of RE2, its flags inside.

    Returns:
        What can be said, each by itself true; nothing when there is no piece to name. What Python reads otherwise than
        RE2 is not read.
    """
    if "[:" in regex:
        return ()
    try:
        parsed = parser.parse(regex)
    except (re.error, OverflowError, RecursionError):
        return ()
    folds = _FOLDS.search(regex) is not None
    edges = () if _LINES.search(regex) else (_beginnings(parsed, folds=folds), _endings(parsed, folds=folds))
    found = (*(frozenset(Piece(text) for text in texts) for texts in _required(parsed, folds=folds)), *edges)
    return tuple(pieces for pieces in found if pieces and all(piece.text for piece in pieces))


def _required(sequence: Iterable[_Item], *, folds: bool) -> Iterator[frozenset[str]]:
    """Give sets of alternatives, of each of which one is in every match; an empty one says nothing."""
    run = ""
    for kind, value in sequence:
        if kind is kinds.LITERAL and _plain(value, folds=folds):
            run += chr(value).lower()
            continue
        yield frozenset({run})
        run = ""
        yield from _inside(kind, value, folds=folds)
    yield frozenset({run})


def _inside(kind: object, value: Any, *, folds: bool) -> Iterator[frozenset[str]]:  # noqa: ANN401 - depends on the kind
    if kind is kinds.SUBPATTERN:
        yield from _required(value[-1], folds=folds)
    elif kind in {kinds.MAX_REPEAT, kinds.MIN_REPEAT}:
        least, _, inner = value
        if least:
            yield from _required(inner, folds=folds)
    elif kind is kinds.BRANCH:
        branches = [max(_required(branch, folds=folds), key=_worth) for branch in value[1]]
        yield frozenset().union(*branches)


def _worth(texts: frozenset[str]) -> tuple[int, int]:
    return min(map(len, texts)), -len(texts)


def _beginnings(sequence: Sequence[_Item], *, folds: bool) -> Pieces:
    """What a match at the beginning of a string (`^`) begins with."""
    if not sequence or sequence[0] != _BEGINNING:
        return frozenset()
    return frozenset(Piece(text, first=True) for text in _literally(sequence[1:], folds=folds))


def _endings(sequence: Sequence[_Item], *, folds: bool) -> Pieces:
    """What a match at the end of a string (`$`) ends with."""
    if not sequence or sequence[-1] != _END:
        return frozenset()
    ends = _literally(sequence[:-1], folds=folds, backwards=True)
    return frozenset(Piece(text, last=True) for text in ends)


def _literally(sequence: Iterable[_Item], *, folds: bool, backwards: bool = False) -> list[str]:
    """Write out the alternatives at one end of a sequence, as far as they are letters and few."""
    texts = [""]
    for kind, value in reversed(list(sequence)) if backwards else sequence:
        more = _alternatives(kind, value, folds=folds)
        if not more or len(more) * len(texts) > _WRITTEN_OUT:
            break
        texts = [other + text if backwards else text + other for text in texts for other in more]
    return texts


def _alternatives(kind: object, value: Any, *, folds: bool) -> list[str]:  # noqa: ANN401 - depends on the kind
    """All that a part can be, in lower case; nothing where that is too much."""
    if kind is kinds.LITERAL:
        return [chr(value).lower()] if _plain(value, folds=folds) else []
    if kind is kinds.SUBPATTERN:
        texts = [""]
        for inner, what in value[-1]:
            more = _alternatives(inner, what, folds=folds)
            texts = [text + other for text in texts for other in more] if len(more) * len(texts) <= _WRITTEN_OUT else []
        return texts
    if kind is kinds.BRANCH:
        branches = [_alternatives(kinds.SUBPATTERN, (branch,), folds=folds) for branch in value[1]]
        texts = [text for branch in branches for text in branch]
        return texts if all(branches) and len(texts) <= _WRITTEN_OUT else []
    return []


def _plain(code: int, *, folds: bool) -> bool:
    """Whether a character is found in lower case wherever it is found: `s`, without case, also is the long s."""
    return chr(code).isascii() and not (folds and chr(code) in "sS")
