"""The arguments of a call as values: strings, descriptors, groups and plain words."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from collector.strace.grammar import ANNOTATION, STRING

MAX_DEPTH: Final = 32
"""Groups nested deeper than this are not strace's doing."""

AT_FDCWD: Final = -100


class Text(msgspec.Struct, frozen=True):
    """A quoted string, unescaped."""

    value: bytes
    truncated: bool = False
    """strace cut it (`"..."...`)."""
    abstract: bool = False
    """The name of an abstract unix socket (`@"..."`)."""


class Descriptor(msgspec.Struct, frozen=True):
    """A file descriptor with what it refers to; `number` is -100 for AT_FDCWD."""

    number: int
    target: bytes
    """A path, unescaped and without a device's `<char 1:3>`, or a name such as `TCP:[...]` or `pipe:[7]` as printed."""
    deleted: bool = False


class Word(msgspec.Struct, frozen=True):
    """Anything unquoted: a number, flags, NULL, an address with its comment."""

    text: bytes


class Argument(msgspec.Struct, frozen=True):
    """One argument of a call or member of a group; `name` is empty when none was printed."""

    name: str
    value: Value


class Group(msgspec.Struct, frozen=True):
    """A structure `{`, an array `[` or an applied name `(`."""

    opener: str
    items: tuple[Argument, ...]
    function: bytes = b""
    """The applied name: `htons` in `htons(53)`."""

    def get(self, name: str) -> Value | None:
        """The member of this name, or None."""
        for item in self.items:
            if item.name == name:
                return item.value
        return None


Value: TypeAlias = Text | Descriptor | Word | Group

_TOKEN: Final = re.compile(
    rb"(?P<sep>, ?)"
    rb"|(?P<key>[A-Za-z_][A-Za-z0-9_.]*+=(?![=>]))"
    rb"|(?P<text>@?" + STRING + rb"(?:\.\.\.)?)"
    rb"|(?P<fd>(?:AT_FDCWD|-?[0-9]{1,10})" + ANNOTATION + rb")"
    rb"|(?P<open>[\[{(])"
    rb"|(?P<close>[\]})])"
    rb"|(?P<arrow> => )"
    rb'|(?P<word>(?:/\*.*?\*/|<<|[^"<(){}\[\],/]++|/)++)',
    re.DOTALL,
)
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_CLOSERS: Final = {"[": b"]", "{": b"}", "(": b")"}
_DELETED: Final = b"(deleted)"


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[0] in b"01234567":
        return bytes([int(code, 8) & 0xFF])
    if len(code) > 1:
        return bytes([int(code[1:], 16)])
    return _LETTERS.get(code, code)


def unescape(quoted: bytes) -> bytes:
    r"""The bytes that strace wrote as C escapes, e.g. `a\tb`, `\303\251`."""
    return _ESCAPE.sub(_unescaped, quoted) if b"\\" in quoted else quoted


def descriptor(number: int, annotation: bytes) -> Descriptor:
    """A descriptor from its number and its annotation with the angle brackets."""
    deleted = annotation.endswith(_DELETED)
    body = annotation[1 : -len(_DELETED) - 1] if deleted else annotation[1:-1]
    if body[:1] in {b"/", b"("}:
        body = unescape(body.partition(b"<")[0])
    return Descriptor(number, body, deleted)


def _text(token: bytes) -> Text:
    abstract = token.startswith(b"@")
    truncated = token.endswith(b".")
    return Text(unescape(token[1 + abstract : -4 if truncated else -1]), truncated, abstract)


def _fd(token: bytes) -> Descriptor:
    number, _, annotation = token.partition(b"<")
    return descriptor(AT_FDCWD if number == b"AT_FDCWD" else int(number), b"<" + annotation)


class _Frame:
    """A group being read, or the call itself."""

    __slots__ = ("function", "items", "name", "opener", "outer_name", "value")

    def __init__(self, opener: str, function: bytes, outer_name: str) -> None:
        self.opener = opener
        self.function = function
        self.outer_name = outer_name
        self.items: list[Argument] = []
        self.name = ""
        self.value: Value | None = None

    def close_item(self) -> bool:
        """Moves the item in hand to the list; False when there was none or only a name."""
        if self.value is None:
            return False
        self.items.append(Argument(self.name, self.value))
        self.name, self.value = "", None
        return True


def parse_arguments(raw: bytes) -> tuple[Argument, ...] | None:
    """The arguments of a call from the text between its parentheses; None when it is not well formed.

    After ` => ` (what the kernel wrote back) a further item follows under the name `=>`.
    """
    frame = _Frame("", b"", "")
    stack: list[_Frame] = []
    position = 0
    while position < len(raw):
        match = _TOKEN.match(raw, position)
        if match is None:
            return None
        position = match.end()
        stepped = _step(frame, stack, match)
        if stepped is None:
            return None
        frame = stepped
    # A trailing separator is what is left of a call that never finished.
    if stack or (not frame.close_item() and frame.name):
        return None
    return tuple(frame.items)


def _step(frame: _Frame, stack: list[_Frame], match: re.Match[bytes]) -> _Frame | None:
    kind, token = match.lastgroup, match[0]
    if kind == "close":
        return _closed(frame, stack, token)
    if kind == "open":
        return _opened(frame, stack, token)
    understood = frame.close_item() if kind in {"sep", "arrow"} else _take(frame, kind, token)
    if kind == "arrow":
        frame.name = "=>"
    return frame if understood else None


def _take(frame: _Frame, kind: str | None, token: bytes) -> bool:
    """Puts a name or a value in the frame's hand; false when there is one already."""
    if frame.value is not None:
        # Only a comment may follow a value.
        return kind == "word" and token.startswith(b" /*")
    if kind == "key":
        free = frame.name in {"", "=>"}
        frame.name = token[:-1].decode("ascii")
        return free
    if kind == "text":
        frame.value = _text(token)
    elif kind == "fd":
        frame.value = _fd(token)
    else:
        frame.value = Word(token)
    return True


def _opened(frame: _Frame, stack: list[_Frame], token: bytes) -> _Frame | None:
    function = b""
    if frame.value is not None:
        if token != b"(" or not isinstance(frame.value, Word):
            return None
        function, frame.value = frame.value.text, None
    if len(stack) >= MAX_DEPTH:
        return None
    stack.append(frame)
    return _Frame(token.decode("ascii"), function, frame.name)


def _closed(frame: _Frame, stack: list[_Frame], token: bytes) -> _Frame | None:
    if not stack or _CLOSERS[frame.opener] != token:
        return None
    if not frame.close_item() and (frame.name or frame.items):
        return None
    outer = stack.pop()
    outer.value = Group(frame.opener, tuple(frame.items), frame.function)
    return outer
