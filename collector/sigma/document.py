"""The tables of `docs/rules.md`, made from what the code knows, so that they cannot say anything else."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sigma.modifiers import modifier_mapping

from collector.errors import RuleError
from collector.sigma.fields import CATEGORIES, COMMON, EVERY_EVENT
from collector.sigma.taxonomy import ABSENT, FOREIGN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from collector.sigma.schema import Field

_TIMES: Final = ("minute", "hour", "day", "week", "month", "year")
MODIFIERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "contains": "the value stands anywhere in the field",
        "startswith": "the field begins with it",
        "endswith": "the field ends with it",
        "all": "every value of the list must match, not any",
        "cased": "case counts",
        "neq": "none of the values matches",
        "re": "a regular expression of RE2 is found in the field",
        "i": "after `re`: case does not count",
        "ignorecase": "the same",
        "m": "after `re`: `^` and `$` also match at line ends",
        "multiline": "the same",
        "s": "after `re`: `.` matches line ends too",
        "dotall": "the same",
        "cidr": "the field is an address in this network, IPv4 or IPv6",
        "gt": "the field is a number above it",
        "gte": "at least it",
        "lt": "below it",
        "lte": "at most it",
        "exists": "the field is there and not empty (`true`), or not (`false`)",
        "fieldref": "the value names another field, to compare with",
        "expand": "`%name%` stands for the entries of a named list",
        "windash": "`-`, `/` and dashes alike before an option",
        "base64": "the value as base64",
        "base64offset": "the value as base64 at each of the three alignments; with `contains`",
        "wide": "the value as UTF-16, little-endian; before `base64`",
        "utf16": "the value as UTF-16 with a byte order mark; before `base64`",
        "utf16be": "the value as UTF-16, big-endian; before `base64`",
        **dict.fromkeys(_TIMES, "**refused**: events have no calendar time"),
    }
)
"""By name, what each modifier that pySigma knows does here."""


def modifier_table() -> str:
    """Write all modifiers as Markdown, in this page's order."""
    rows = "".join(f"| `{name}` | {MODIFIERS[name]} |\n" for name in MODIFIERS if name in modifier_mapping)
    return f"| modifier | meaning |\n|---|---|\n{rows}"


def field_table() -> str:
    """Write the fields of all categories as Markdown."""
    parts = [_table("Every category", "", COMMON)]
    for category in CATEGORIES:
        if not category.fields:
            continue
        kinds = ", ".join(f"`{kind.__struct_config__.tag}`" for kind in category.kinds)
        origin = " (not in Sigma's own taxonomy)" if category.ours else ""
        parts.append(_table(f"`{category.name}`", f"Events: {kinds}{origin}.\n\n", category.fields))
    every = "Events of every kind; the fields of all categories, absent where they do not apply."
    parts.append(f"### `{EVERY_EVENT}`\n\n{every}\n")
    return "\n".join(parts)


def foreign_table() -> str:
    """Write what rules by others may name besides, as Markdown."""
    rows = []
    for category in FOREIGN:
        names = [it.name.removeprefix(f"{category.name}.") for it in category.fields]
        shown = [f"`{name}`" for name in names if not re.fullmatch(r"a\d+", name)]
        arguments = [name for name in names if re.fullmatch(r"a\d+", name)]
        shown += [f"`{arguments[0]}` to `{arguments[-1]}`"] if arguments else []
        rows.append(f"| `{category.name}` | {', '.join(shown)} |\n")
    absent = "".join(f"| `{name}` | {reason} |\n" for name, reason in ABSENT.items())
    return (
        f"| category or service | fields besides |\n|---|---|\n{''.join(rows)}\n"
        f"| field that no event answers to | why |\n|---|---|\n{absent}"
    )


BLOCKS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {"modifiers": modifier_table, "foreign": foreign_table, "fields": field_table}
)
"""By the name in `<!-- name: begin -->`, what makes the block."""


def renewed(page: str) -> str:
    """Put the tables into a page.

    Args:
        page: Markdown that has each block between `<!-- name: begin -->` and `<!-- name: end -->`.

    Returns:
        The page with the tables as they are now.

    Raises:
        RuleError: A block is missing.
    """
    for name, make in BLOCKS.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, opened, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not opened or not closed:
            raise RuleError(f"the page has no block {begin.strip()} ... {end}; add both lines")
        page = f"{head}{begin}{make()}{end}{tail}"
    return page


def _table(title: str, introduction: str, fields: Iterable[Field]) -> str:
    rows = "".join(f"| `{it.name}` | {it.text} |\n" for it in fields)
    return f"### {title}\n\n{introduction}| field | what it holds |\n|---|---|\n{rows}"
