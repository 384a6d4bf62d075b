"""YAML whose every value knows its line: a node graph turned into typed structs, with errors a person can act on.

PyYAML composes the graph (no Python object is ever constructed from a tag); types and ranges come from the
structs' own annotations.
"""

from __future__ import annotations

import difflib
import types
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_NODES = 5_000
"""Far more than a profile needs; aliases count each time they are used."""
_SHOWN = 80

T = TypeVar("T", bound=msgspec.Struct)


class Sort(NamedTuple):
    """What sort of file it is, for messages."""

    noun: str
    """E.g. `profile`."""
    error: type[Exception]
    """What is raised."""
    advice: str
    """What to do about an empty file."""


class Place(NamedTuple):
    """Where a value stands: file label, 1-based line and dotted path of keys."""

    file: str
    line: int
    path: str
    sort: Sort

    def error(self, text: str) -> Exception:
        """The error to raise for this place."""
        return self.sort.error(f"{self.file}:{self.line}: {text}")

    @property
    def name(self) -> str:
        """How messages call the value."""
        return self.path or f"the {self.sort.noun}"


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint that names the closest valid word, or all of them when none is close."""
    words = list(valid)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid here: {', '.join(words)}" if words else "nothing is valid here"


class Document:
    """One parsed YAML file.

    Attributes:
        file: The label that error messages give.
        lines: Line of each value by its path of keys.
    """

    def __init__(self, text: str, file: str, sort: Sort) -> None:
        self.file = file
        self._sort = sort
        self.lines: dict[tuple[str, ...], int] = {}
        self._visited = 0
        self._root = self._compose(text)

    def read(self, kind: type[T]) -> T:
        """The whole document as a struct of the given type.

        Raises:
            Exception: Of the sort: a key is unknown, missing or duplicate, or a value has the wrong type or range.
        """
        value = self._convert(self._root, kind, ())
        if not isinstance(value, kind):  # an empty document has no mapping at its top
            raise self.place(()).error("the file is empty")
        return value

    def place(self, path: tuple[str, ...]) -> Place:
        """Where the value at a path stands; for a path that is not there, where its closest parent is."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return self._place(self.lines.get(known, 1), path)

    def _place(self, line: int, path: tuple[str, ...] = ()) -> Place:
        return Place(self.file, line, ".".join(path), self._sort)

    def _compose(self, text: str) -> yaml.Node:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise self._place(line).error(f"not valid YAML: {error.problem}") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise self._place(1).error(f"not valid YAML: {str(error).splitlines()[0]}") from error
        if node is None:
            raise self._place(1).error(f"the file is empty; {self._sort.advice}")
        return node

    def _convert(self, node: yaml.Node, kind: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - shape is data
        self._visited += 1
        self.lines[path] = node.start_mark.line + 1
        place = self.place(path)
        if self._visited > _MAX_NODES:
            raise place.error(f"this file holds too many values for a {self._sort.noun}; remove some")
        kind = _without_none(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(node, kind, path)
        if get_origin(kind) is dict:
            key_kind, value_kind = get_args(kind)
            return {
                self._key(key, key_kind, path): self._convert(value, value_kind, (*path, key.value))
                for key, value in self._pairs(node, path)
            }
        if get_origin(kind) is tuple:
            if not isinstance(node, yaml.SequenceNode):
                raise place.error(f"{place.name} must be a list")
            (member, _) = get_args(kind)
            return tuple(self._convert(item, member, (*path, str(at))) for at, item in enumerate(node.value, 1))
        return _leaf(_scalar(node, place), kind, place)

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct], path: tuple[str, ...]) -> msgspec.Struct:
        hints = get_type_hints(kind, include_extras=True)
        required = {f.name for f in msgspec.structs.fields(kind) if f.required}
        values: dict[str, Any] = {}
        for key, value in self._pairs(node, path):
            if key.value not in hints:
                place = self._place(key.start_mark.line + 1)
                where = self.place(path).name
                raise place.error(f"unknown key {key.value[:_SHOWN]!r} in {where}; {nearest(key.value, hints)}")
            values[key.value] = self._convert(value, hints[key.value], (*path, key.value))
        for name in hints:
            if name in required and name not in values:
                raise self.place(path).error(f"key {name!r} is missing in {self.place(path).name}")
        return kind(**values)

    def _pairs(self, node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self.place(path).error(f"{self.place(path).name} must be a mapping of keys to values")
        seen: set[str] = set()
        for key, value in node.value:
            place = self._place(key.start_mark.line + 1)
            if not isinstance(key, yaml.ScalarNode):
                raise place.error("a key must be plain text")
            if key.value in seen:
                raise place.error(f"key {key.value[:_SHOWN]!r} is given twice; keep one of them")
            seen.add(key.value)
            yield key, value

    def _key(self, node: yaml.ScalarNode, kind: Any, path: tuple[str, ...]) -> str:  # noqa: ANN401 - a type form
        place = self._place(node.start_mark.line + 1, path)
        if get_origin(kind) is Literal and node.value not in get_args(kind):
            raise place.error(
                f"unknown key {node.value[:_SHOWN]!r} in {place.path}; {nearest(node.value, get_args(kind))}"
            )
        return str(_leaf(node.value, kind, place))


def _without_none(kind: Any) -> Any:  # noqa: ANN401 - a type form
    if get_origin(kind) in {Union, types.UnionType}:
        return next(member for member in get_args(kind) if member is not type(None))
    return kind


def _scalar(node: yaml.Node, place: Place) -> str | int | float | bool | None:
    """The plain value of a scalar node; only the tags of JSON's own types are known."""
    name = place.name
    if not isinstance(node, yaml.ScalarNode):
        raise place.error(
            f"{name} must be one value, not a {'list' if isinstance(node, yaml.SequenceNode) else 'mapping'}"
        )
    text: str = node.value
    try:
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str" | "timestamp":
                return text
            case "int":
                return int(text.replace("_", ""))
            case "float":
                return float(text)
            case "bool":
                return text.lower() in {"true", "yes", "on"}
            case "null":
                return None
    except ValueError as error:
        raise place.error(f"{name}: {text[:_SHOWN]!r} is not a plain decimal number") from error
    raise place.error(
        f"{name}: a value of type {node.tag[:_SHOWN]!r} has no place in a {place.sort.noun}; quote it if it is text"
    )


def _leaf(value: object, kind: Any, place: Place) -> object:  # noqa: ANN401 - a type form
    try:
        converted: object = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
        reason = str(error)
        raise place.error(f"{place.path}: {reason[:1].lower()}{reason[1:]}, found {shown}") from error
    return converted
