"""Variables of the environment that are stronger than the configuration's file: one for every simple key."""

from __future__ import annotations

import types
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from sandbox.config.model import ConfigurationFile, Part
from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "FUMEHOOD_"


class Variable(NamedTuple):
    """A variable and the key that it stands for."""

    name: str
    path: tuple[str, ...]
    kind: Any
    """Annotation of the key."""


def variables() -> Iterator[Variable]:
    """All variables. Keys that hold more than one value each, as receivers of webhooks do, have none."""
    for key, kind in get_type_hints(ConfigurationFile, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, Part):
            for inner, inner_kind in get_type_hints(kind, include_extras=True).items():
                if _is_simple(inner_kind):
                    yield Variable(f"{PREFIX}{key}_{inner}".upper(), (key, inner), inner_kind)
        elif _is_simple(kind):
            yield Variable(f"{PREFIX}{key}".upper(), (key,), kind)


def overlay(file: ConfigurationFile, environment: Mapping[str, str]) -> ConfigurationFile:
    """What the file says, with what the environment says instead; a variable that is empty says nothing.

    Raises:
        ConfigurationError: A value is of the wrong type or out of its range; the message names the variable.
    """
    for variable in variables():
        if text := environment.get(variable.name):
            value = _value(variable, text)
            if len(variable.path) == 1:
                file = msgspec.structs.replace(file, **{variable.path[0]: value})
            else:
                section, key = variable.path
                changed = msgspec.structs.replace(getattr(file, section), **{key: value})
                file = msgspec.structs.replace(file, **{section: changed})
    return file


def _value(variable: Variable, text: str) -> Any:  # noqa: ANN401 - of the key's type
    given = [part.strip() for part in text.split(",")] if _is_list(variable.kind) else text
    try:
        return msgspec.convert(given, variable.kind, strict=False)
    except msgspec.ValidationError as error:
        # The value is not repeated: it may be a password.
        raise ConfigurationError(f"{variable.name}: {error}; see docs/configuration.md") from error


def _is_simple(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    bare = _bare(kind)
    return bare in {str, int, float, bool} or get_origin(bare) is Literal or _is_list(kind)


def _is_list(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    bare = _bare(kind)
    return get_origin(bare) is tuple and _bare(get_args(bare)[0]) is str


def _bare(kind: Any) -> Any:  # noqa: ANN401 - an annotation
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        known = [part for part in get_args(kind) if part is not type(None)]
        return _bare(known[0]) if len(known) == 1 else kind
    return kind
