"""Strings from archives and indexes, made fit for an error message: short, on one line, printable."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 100


def quoted(text: str, limit: int = _SHOWN) -> str:
    """The text in quotes, everything outside printable ASCII escaped, cut at `limit` characters."""
    cut = ascii(text[:limit])
    return cut if len(text) <= limit else f"{cut}... ({len(text)} characters)"


def listed(texts: Iterable[str], limit: int = 8) -> str:
    """A few texts, comma-separated, and how many more there are."""
    every = list(texts)
    shown = ", ".join(ascii(text[:_SHOWN])[1:-1] for text in every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit} more"
