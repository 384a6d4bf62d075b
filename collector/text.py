"""Events as lines of text: the form that rules, tests and `fumehood events` share.

A line is `<phase> <actor> <pid> <kind> [key=value ...]`, e.g.
`import target 412 file.read path=/home/dev/.ssh/id_rsa errno=ENOENT`. What a package chose (paths, arguments,
names) is written bare only when it is harmless ASCII; everything else is JSON with every other character escaped,
so a line stays one line and cannot drive a terminal.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from collector.errors import EventTextError
from collector.events import AnyEvent, Event

if TYPE_CHECKING:
    from collections.abc import Iterable

_BARE = re.compile(r"[A-Za-z0-9_./:@%+,*-]+")
_WORD = re.compile(r"[^\s\"\[#=]\S*")
"""What a person may write unquoted: more than `render` writes bare, e.g. `path=~/x` or `target=/a?b=c`."""
_KEY = re.compile(r"\s+([A-Za-z_][A-Za-z0-9_]*)=")
_END = re.compile(r"\s*(?:\s#.*)?", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,18}")

_OUTSIDE = frozenset({"ts", "phase", "actor", "pid", "source"})
"""Fields that are positional or are not part of the text form."""


def render(event: AnyEvent, *, source: bool = False) -> str:
    """Write an event as one line of printable ASCII.

    Args:
        event: Any event; its `ts` is not part of the text form.
        source: Append where the event comes from as a comment, e.g. `  # traces/import.strace.zst:123`.

    Returns:
        The line, without a line end. `parse` gives the event back, without `ts` and `source`.
    """
    words = [_string(event.phase), _string(event.actor), str(event.pid or "-"), kind_of(event)]
    for field in _fields(type(event)).values():
        value = getattr(event, field.name)
        if field.required or value != field.default:
            words.append(f"{field.name}={_value(value)}")
    if source and event.source is not None:
        words.append(f" # {_string(event.source.file)}:{event.source.line}")
    return " ".join(words)


def parse(line: str) -> AnyEvent:
    """Read one line of the text form; a trailing `# comment` is ignored.

    Args:
        line: The line, with or without its line end.

    Returns:
        The event, with `ts` 0 and no `source`.

    Raises:
        EventTextError: The line is not an event; the message says what would be one.
    """
    line = line.strip()
    head, position = _head(line)
    phase, actor, pid, kind = head
    cls = _class(kind)
    values: dict[str, Any] = {"phase": phase, "actor": actor, "pid": _pid(pid)}
    fields = _fields(cls)
    while match := _KEY.match(line, position):
        name = match[1]
        field = fields.get(name)
        if field is None:
            raise EventTextError(f"{kind} has no field {name!r}{_nearest(name, fields)}")
        if name in values:
            raise EventTextError(f"{name} is given twice; give each field once")
        raw, position = _scan(line, match.end())
        values[name] = _typed(name, field.type, raw)
    if _END.fullmatch(line, position) is None:
        raise EventTextError(
            f"after column {position}, expected key=value or '# comment', found {line[position:]!a:.60}"
        )
    missing = [name for name, field in fields.items() if field.required and name not in values]
    if missing:
        raise EventTextError(f"{kind} needs {', '.join(f'{name}=...' for name in missing)}")
    return cls(**values)


def kind_of(event: AnyEvent) -> str:
    """The kind of an event, e.g. `file.read`.

    Args:
        event: Any event.

    Returns:
        The name that stands fourth in the text form.
    """
    return str(type(event).__struct_config__.tag)


def _string(text: str) -> str:
    if _BARE.fullmatch(text):
        return text
    # json leaves DEL as it is; everything else outside printable ASCII it escapes.
    return json.dumps(text).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _string(value)
        case _:
            return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")


def _head(line: str) -> tuple[list[str], int]:
    words: list[str] = []
    position = 0
    for expected in ("phase", "actor", "pid", "kind"):
        while line[position : position + 1].isspace():
            position += 1
        word, position = _scan(line, position, expected)
        if not isinstance(word, str):
            raise EventTextError(f"the {expected} must be a word, not {word!a:.60}")
        words.append(word)
    return words, position


def _scan(line: str, position: int, expected: str = "value") -> tuple[object, int]:
    """Read a bare word, a JSON string or a JSON array; give it and the position after it."""
    if line[position : position + 1] in ('"', "["):
        try:
            return json.JSONDecoder().raw_decode(line, position)
        except (ValueError, RecursionError):
            raise EventTextError(f"not JSON at column {position + 1}: {line[position:]!a:.60}") from None
    match = _WORD.match(line, position)
    if match is None:
        raise EventTextError(
            f"expected a {expected} at column {position + 1}; a line is '<phase> <actor> <pid> <kind> [key=value ...]'"
        )
    return match[0], match.end()


def _pid(word: str) -> int:
    if word == "-":
        return 0
    if _NUMBER.fullmatch(word) is None:
        raise EventTextError(f"the pid must be a number or '-', not {word!a:.60}")
    return int(word)


def _typed(name: str, wanted: object, raw: object) -> object:
    if wanted is str and isinstance(raw, str):
        return raw
    if wanted is bool and raw in ("true", "false"):
        return raw == "true"
    if wanted is int and isinstance(raw, str) and _NUMBER.fullmatch(raw):
        return int(raw)
    if isinstance(raw, list) and wanted not in (str, bool, int) and all(isinstance(part, str) for part in raw):
        return tuple(raw)
    shape = {str: "a word or a JSON string", bool: "true or false", int: "a whole number"}
    needed = next((text for key, text in shape.items() if key is wanted), 'a JSON array of strings, e.g. ["a","b"]')
    raise EventTextError(f"{name} must be {needed}, not {raw!a:.60}")


@cache
def _classes() -> dict[str, type[AnyEvent]]:
    return {str(cls.__struct_config__.tag): cls for cls in get_args(AnyEvent)}


@cache
def _fields(cls: type[Event]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(cls) if field.name not in _OUTSIDE}


def _class(kind: str) -> type[AnyEvent]:
    classes = _classes()
    if kind not in classes:
        raise EventTextError(f"there is no event kind {kind!a:.60}{_nearest(kind, classes)}")
    return classes[kind]


def _nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(names)}"
