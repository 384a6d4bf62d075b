"""Text as every database takes it. What a package calls itself may be of any length and hold anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

NAME: Final = 256
"""Most bytes of what is part of an index: PostgreSQL refuses rows whose key is longer than 2,704."""
TERM: Final = 1024
TEXT: Final = 4096


def stored(text: str, most: int = TEXT) -> str:
    """Text without NUL and halves of surrogate pairs, which PostgreSQL does not have, cut to `most` bytes of UTF-8."""
    plain = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return plain.decode() if len(plain) <= most else plain[: most - 3].decode("utf-8", "ignore") + "…"


def plain(row: RowMapping) -> dict[str, Any]:
    """A row as msgspec takes it: the names of columns are more than plain strings."""
    return {str(name): value for name, value in row.items()}
