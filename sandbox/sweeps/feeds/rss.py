"""Reads an RSS document of strangers: no document types, so no entities of its own; bounded in every direction."""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

import msgspec

_MAX_ITEMS: Final = 2_000
_MAX_DEPTH: Final = 16
_MAX_TEXT: Final = 2_048
"""Characters of one value; longer ones are cut."""
_WANTED: Final = frozenset({"title", "link", "pubDate", "guid"})


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item, as it is written; empty strings for what it lacks."""

    title: str = ""
    link: str = ""
    guid: str = ""
    published: str = ""


class _RefusedError(Exception):
    """Raised inside the parser's callbacks to end it."""


def read_rss(body: bytes) -> list[Item]:
    """The items of an RSS 2.0 document, in its order (the newest first, by custom).

    Raises:
        ValueError: It is not XML, not RSS, has a document type, or is too large; the message says which.
    """
    handler = _Handler()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = handler.doctype
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    try:
        parser.Parse(body, True)
    except _RefusedError as error:
        raise ValueError(str(error)) from error
    except (expat.ExpatError, LookupError) as error:  # an encoding that does not exist is a LookupError
        raise ValueError(f"not XML: {error}") from error
    return handler.items


class _Handler:
    """Collects items while the parser goes through the document."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._path: list[str] = []
        self._values: dict[str, str] = {}

    def doctype(self, *_: object) -> None:
        raise _RefusedError("it has a document type, which no RSS needs and which may hide entities")

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        if not self._path and name != "rss":
            raise _RefusedError("it is not an RSS document")
        if len(self._path) >= _MAX_DEPTH:
            raise _RefusedError("it is nested too deeply")
        self._path.append(name)
        if name == "item":
            self._values = {}

    def end(self, name: str) -> None:
        self._path.pop()
        if name != "item":
            return
        if len(self.items) >= _MAX_ITEMS:
            raise _RefusedError(f"it has more than {_MAX_ITEMS} items")
        found = {key: value.strip() for key, value in self._values.items()}
        self.items.append(
            Item(
                title=found.get("title", ""),
                link=found.get("link", ""),
                guid=found.get("guid", ""),
                published=found.get("pubDate", ""),
            )
        )

    def text(self, data: str) -> None:
        name = self._path[-1] if self._path else ""
        if name in _WANTED and self._path[-2:-1] == ["item"]:
            self._values[name] = (self._values.get(name, "") + data)[:_MAX_TEXT]
