"""How a rule finds a category, and how it gets at the fields of an event; the categories are in `categories`.

The tables of `docs/rules.md` are made from both by `collector.sigma.document`.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from collector.manifest import PHASES
from collector.sigma.categories import CATEGORIES, EVERY_EVENT, KINDS, TAGS
from collector.sigma.schema import Field, field
from collector.sigma.taxonomy import FOREIGN
from collector.sigma.values import (
    ancestors,
    command_line,
    event_only,
    home_path,
    host,
    image,
    parent_command_line,
    parent_image,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.events import Event
    from collector.sigma.schema import Category
    from collector.sigma.view import Getter

__all__ = [
    "CATEGORIES",
    "COMMON",
    "EVERY_EVENT",
    "KINDS",
    "ROLES",
    "TAGS",
    "category_named",
    "field_names",
    "fields_by_kind",
    "getters_by_kind",
    "searched_by_kind",
]

ROLES = ("registry", "metadata", "local", "")

COMMON: tuple[Field, ...] = (
    field(
        "Kind",
        event_only(lambda event: str(type(event).__struct_config__.tag)),
        "kind of the event, e.g. `file.read`",
        TAGS,
        source="setting",
    ),
    field(
        "Phase",
        "phase",
        "`dependencies`, `install`, `startup`, `import`, `exercise` or `linger`",
        PHASES,
        source="setting",
    ),
    field(
        "Actor",
        "actor",
        "`installer`, `build-backend`, `dependency:<name>` or `target`",
        ("installer", "build-backend", "dependency:*", "target"),
        source="setting",
    ),
    field(
        "Errno",
        "errno",
        "name of the error of a call that failed, e.g. `ENOENT`; empty when it succeeded",
        source="setting",
    ),
    field(
        "ProcessId",
        event_only(lambda event: event.pid or None),
        "process that did it; absent when unknown",
        source="process",
    ),
    field("Image", image, "program of that process", source="process"),
    field("CommandLine", command_line, "its arguments, joined with spaces", source="process"),
    field("ParentImage", parent_image, "program of its parent", source="process"),
    field("ParentCommandLine", parent_command_line, "arguments of its parent, joined with spaces", source="process"),
    field(
        "Ancestors",
        ancestors,
        "list: programs of its parents, nearest first, up to the root of the phase",
        source="process",
    ),
    field(
        "Bait",
        event_only(lambda event: getattr(event, "bait", None)),
        "list: planted secrets in it, as `name/encoding` ([bait](bait.md)); the outermost of several encodings first",
    ),
    field(
        "HostRole",
        event_only(lambda event: getattr(event, "role", None)),
        "`registry`, `metadata`, `local`, or empty for any other host; absent where no host is involved",
        ROLES,
    ),
    field(
        "Host",
        event_only(host),
        "remote host in lower case: its name where one is known, else its address; absent where none is involved",
    ),
    field("User", lambda _, context: context.user, "name of the tracee's user"),
    field("HomePath", home_path, "path (or program) below the home directory, as `~/...`; absent elsewhere"),
)


def category_named(name: str) -> Category | None:
    """Find a category.

    Args:
        name: `category` of a rule's logsource.

    Returns:
        The category, or None when there is none of that name.
    """
    return next((category for category in CATEGORIES if category.name == name), None)


def field_names(category: Category) -> tuple[str, ...]:
    """Give the names that rules of a category may use, common fields last.

    Args:
        category: One of `CATEGORIES`; rules of `fumehood` may use the fields of all.

    Returns:
        Names without repetition; those that an event has not are absent (null) in it.
    """
    own = CATEGORIES if category.name == EVERY_EVENT else (category,)
    names = [it.name for part in own for it in part.fields] + [it.name for it in COMMON]
    return tuple(dict.fromkeys(names))


@cache
def fields_by_kind() -> Mapping[type[Event], Mapping[str, Field]]:
    """Give the fields of each kind of event.

    Returns:
        Class of event to name of field to field; a kind has the fields of all its categories.
    """
    return MappingProxyType(
        {
            kind: {
                **{it.name: it for it in COMMON},
                **{it.name: it for part in (*CATEGORIES, *FOREIGN) if kind in part.kinds for it in part.fields},
            }
            for kind in KINDS
        }
    )


@cache
def getters_by_kind() -> Mapping[type[Event], Mapping[str, Getter]]:
    """Give, for each kind of event, how to get each field."""
    return MappingProxyType(
        {kind: {name: it.get for name, it in fields.items()} for kind, fields in fields_by_kind().items()}
    )


@cache
def searched_by_kind() -> Mapping[type[Event], tuple[str, ...]]:
    """Give, for each kind of event, the fields that values without a field (keywords) are searched for in."""
    return MappingProxyType(
        {kind: tuple(name for name in getters if "." not in name) for kind, getters in getters_by_kind().items()}
    )
