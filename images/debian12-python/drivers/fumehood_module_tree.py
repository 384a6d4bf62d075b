"""The modules of a distribution as a tree: what there is to import, and what hangs on what."""

from __future__ import annotations

import importlib.machinery
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import fumehood_driver as driver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import Distribution

PLANNED_LIMIT = 5000
LATE = ("test", "tests", "testing", "_vendor", "vendor", "examples")


@dataclass(slots=True, eq=False)
class Node:
    """A module, or a directory that is only the way to one."""

    name: str
    is_file: bool = False
    children: list[Node] = field(default_factory=list)
    state: str = "planned"
    reason: str = ""
    fresh: bool = False  # had a process of its own, forked from the root
    pid: int = 0
    pidfd: int = -1
    since: float = 0.0  # when it came into this state


def plan(distribution: Distribution) -> tuple[Node, dict[str, Node], int]:
    """List the importable modules as a tree; return its root, the nodes by name, and how many were too many."""
    top = Node("")
    nodes = {"": top}
    suffixes = sorted(importlib.machinery.all_suffixes(), key=len, reverse=True)
    found = {module_name(path.parts, suffixes) for path in distribution.files or ()}
    names = sorted(found - {""}, key=lambda name: (name.count("."), name))
    for name in names[:PLANNED_LIMIT]:
        add(nodes, name).is_file = True
    for node in nodes.values():
        node.children.sort(key=lambda child: (child.name.rpartition(".")[2] in LATE, bool(child.children), child.name))
    return top, nodes, len(names[PLANNED_LIMIT:])


def module_name(parts: Sequence[str], suffixes: Sequence[str]) -> str:
    """Return the dotted name of a file of the distribution, or an empty string when it is not a module."""
    *directories, filename = parts
    suffix = next((suffix for suffix in suffixes if filename.endswith(suffix)), None)
    if suffix is None or "__pycache__" in directories:
        return ""
    stem = filename.removesuffix(suffix)
    names = directories if stem == "__init__" else [*directories, stem]
    if stem == "__main__" or not names or not all(name.isidentifier() for name in names):
        return ""
    name = ".".join(names)
    return name if len(name) <= driver.NAME_LENGTH else ""


def add(nodes: dict[str, Node], name: str) -> Node:
    """Return the node of this name, made together with its parents when it is new."""
    if name not in nodes:
        nodes[name] = Node(name)
        add(nodes, name.rpartition(".")[0]).children.append(nodes[name])
    return nodes[name]


def subtree(node: Node) -> Iterator[Node]:
    """Yield the nodes below one."""
    for child in node.children:
        yield child
        yield from subtree(child)


def untouched(node: Node) -> Iterator[Node]:
    """Yield the topmost nodes below one that nobody has tried."""
    for child in node.children:
        if child.state == "planned":
            yield child
        else:
            yield from untouched(child)


def belongs(name: str, job: str) -> bool:
    """Tell whether a module is in the subtree of a job."""
    return name == job or name.startswith(job + ".")
