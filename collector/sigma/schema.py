"""What a category of events is made of, for rules: kinds of events and named fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from collector.sigma.values import attribute

if TYPE_CHECKING:
    from collector.events import Event
    from collector.sigma.view import Getter

Source: TypeAlias = Literal["setting", "event", "process"]
"""What the value of a field depends on: kind, phase, actor and errno of the event alone; all that the event says but
its time and its process, and what stays the same for a run; or time and process too."""


@dataclass(frozen=True, slots=True)
class Field:
    """A name that rules of a category may use."""

    name: str
    get: Getter
    text: str
    """What it holds, for the documentation."""
    values: tuple[str, ...] = ()
    """All that it can be, as Sigma strings with wildcards; empty when that is open."""
    source: Source = "event"


@dataclass(frozen=True, slots=True)
class Category:
    """A Sigma logsource category and the kinds of events it stands for."""

    name: str
    kinds: tuple[type[Event], ...]
    fields: tuple[Field, ...]
    ours: bool = False
    """Not one of Sigma's own categories."""


def field(name: str, get: Getter | str, text: str, values: tuple[str, ...] = (), *, source: Source = "event") -> Field:
    """Make a field; `get` may be the name of an attribute that all kinds of the category have."""
    return Field(name, attribute(get) if isinstance(get, str) else get, text, values, source)
