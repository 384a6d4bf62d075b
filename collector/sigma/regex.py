"""Regular expressions of rules as functions over strings."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sigma.policy import default_policy

from collector.errors import RuleError

if TYPE_CHECKING:
    from sigma.types import SigmaRegularExpression

    from collector.sigma.strings import Test

_REMEMBERED: Final = 512
"""Answers that each expression remembers: thousands of events share their paths and command lines."""
_SHORT: Final = 256
"""Longest string, in characters, whose answer is remembered; long ones are rare, and would stay in memory."""


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
    search = default_policy.regex_engine.compile(str(value.regexp), flags).search

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
