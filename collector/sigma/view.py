"""One event as Sigma sees it: named fields whose values are looked up when a rule asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.events import AnyEvent
    from collector.processes import ProcessTable

Value: TypeAlias = str | int | bool | tuple[str, ...] | None
"""What a field can be. An empty string, an empty tuple and None all mean that there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Context:
    """What fields need beside the event itself."""

    home: str
    """The tracee's home directory, without a final slash."""
    user: str
    processes: ProcessTable


Getter: TypeAlias = "Callable[[AnyEvent, Context], Value]"


class View:
    """The fields of one event, each computed at most once."""

    __slots__ = ("_folded", "_getters", "_values", "context", "event")

    def __init__(self, event: AnyEvent, context: Context, getters: Mapping[str, Getter]) -> None:
        self.event = event
        self.context = context
        self._getters = getters
        self._values: dict[str, Value] = {}
        self._folded: dict[str, tuple[str, ...]] = {}

    def value(self, name: str) -> Value:
        """Give the value of a field.

        Args:
            name: Name of the field, as in the table of fields.

        Returns:
            The value; None when this kind of event has no such field.
        """
        try:
            return self._values[name]
        except KeyError:
            getter = self._getters.get(name)
            value = None if getter is None else getter(self.event, self.context)
            self._values[name] = value
            return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Give a field as strings: one for a scalar, one for each member of a list, none for None."""
        return as_texts(self.value(name))

    def folded(self, name: str) -> tuple[str, ...]:
        """Give a field as strings in lower case, as Sigma compares them."""
        try:
            return self._folded[name]
        except KeyError:
            folded = tuple(text.lower() for text in self.texts(name))
            self._folded[name] = folded
            return folded


def as_texts(value: Value) -> tuple[str, ...]:
    """Write a value as the strings that a rule can compare with.

    Args:
        value: Value of a field.

    Returns:
        The strings; a boolean is `true` or `false`, a number is decimal.
    """
    if isinstance(value, str):
        return (value,)
    if value is None:
        return ()
    if isinstance(value, tuple):
        return value
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (str(value),)


def absent(value: Value) -> bool:
    """Say whether a field has nothing to say: it is missing, an empty string or an empty list."""
    return value is None or value in ("", ())
