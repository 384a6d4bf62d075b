"""The arguments of a call as values: strings, descriptors, groups and plain words."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

import msgspec

from collector.strace.grammar import ANNOTATION, LAST, STRING

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
    rb'|(?P<word>(?:/\*.*?\*/|<<|[^"<(){}\[\],/]++|/' + LAST + rb")++)",
    re.DOTALL,
)
_TWO_TEXTS: Final = re.compile(rb'"([^"\\]*+)", "([^"\\]*+)"\Z')
"""The arguments of a renaming, of which there are thousands."""
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_CLOSERS: Final = {b"[": b"]", b"{": b"}", b"(": b")"}
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


class _Outer(NamedTuple):
    """What stands around a group that is being read."""

    items: list[Argument]
    name: str
    opener: bytes
    function: bytes


def parse_arguments(raw: bytes) -> tuple[Argument, ...] | None:  # noqa: C901, PLR0911, PLR0912 - see below
    """The arguments of a call from the text between its parentheses; None when it is not well formed.

    After ` => ` (what the kernel wrote back) a further item follows under the name `=>`.
    """
    if (texts := _TWO_TEXTS.match(raw)) is not None:
        return (Argument("", Text(texts[1])), Argument("", Text(texts[2])))
    # One loop on purpose: a function for each kind of token takes twice as long, and a trace has millions of tokens.
    items: list[Argument] = []
    name = ""
    value: Value | None = None
    around: list[_Outer] = []
    position = 0
    for match in _TOKEN.finditer(raw):
        if match.start() != position:
            return None
        position = match.end()
        kind, token = match.lastgroup, match[0]
        if kind in {"sep", "arrow"}:
            if value is None:
                return None
            items.append(Argument(name, value))
            name, value = "" if kind == "sep" else "=>", None
        elif kind == "open":
            function = _applied(value, token)
            if function is None or len(around) >= MAX_DEPTH:
                return None
            around.append(_Outer(items, name, token, function))
            items, name, value = [], "", None
        elif kind == "close":
            if not _ended(items, name, value) and (name or items):
                return None
            inner = tuple(items)
            if not around or _CLOSERS[around[-1].opener] != token:
                return None
            items, name, opener, function = around.pop()
            value = Group(opener.decode("ascii"), inner, function)
        elif value is not None:
            # Only a comment may follow a value.
            if kind != "word" or not token.startswith(b" /*"):
                return None
        elif kind == "key":
            if name not in {"", "=>"}:
                return None
            name = token[:-1].decode("ascii")
        else:
            value = Word(token) if kind == "word" else _text(token) if kind == "text" else _fd(token)
    # A trailing separator is what is left of a call that never finished.
    if position < len(raw) or around or (not _ended(items, name, value) and name):
        return None
    return tuple(items)


def _ended(items: list[Argument], name: str, value: Value | None) -> bool:
    """Adds the item in hand to the others; False when there was none or only a name."""
    if value is None:
        return False
    items.append(Argument(name, value))
    return True


def _applied(value: Value | None, opener: bytes) -> bytes | None:
    """The name that stands before a group and is applied to it; None when something else stands there."""
    if value is None:
        return b""
    return value.text if opener == b"(" and isinstance(value, Word) else None
