"""The templates of bait files: `{{name}}` stands for a value, `{{name.part}}` for something derived from it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLES = ("user", "host", "home", "now", "later")
"""Names that every template may use; none of them is a secret. The last two are times of the run, RFC 3339."""

_REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_.-]{1,128})\s*\}\}")


def references(template: str) -> tuple[str, ...]:
    """Every name between double braces, in order, repeated as often as it stands there."""
    return tuple(_REFERENCE.findall(template))


def sole_reference(template: str) -> str:
    """The name, when a template is nothing but one reference; else the empty string."""
    match = _REFERENCE.fullmatch(template.strip())
    return match.group(1) if match else ""


def render(template: str, lookup: Callable[[str], str]) -> str:
    """The template with each reference replaced by what `lookup` gives for its name."""
    return _REFERENCE.sub(lambda match: lookup(match.group(1)), template)
