"""The modules of a distribution as a tree: what there is to import, and what hangs on what."""

from __future__ import annotations

import importlib.machinery
import os
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
    pidfd: int = -1  # or its open `stat`, where there are no pidfds
    polled: bool = True  # whether it is a pidfd
    since: float = 0.0  # when it came into this state


def plan(
    distributions: Sequence[Distribution], others: Sequence[Distribution], site_packages: str
) -> tuple[Node, dict[str, Node], int]:
    """List the importable modules as a tree; return its root, the nodes by name, and how many were not taken up.

    Taken are the modules that the distributions list, and those on disk that no other distribution lists.
    """
    top = Node("")
    nodes = {"": top}
    suffixes = sorted(importlib.machinery.all_suffixes(), key=len, reverse=True)
    site = os.path.realpath(site_packages)
    files = {*listed(distributions, site), *(present(site) - listed(others, site))}
    found = {module_name(path.split("/"), suffixes) for path in files} - {""}
    names = sorted(found, key=lambda name: (name.count("."), name))
    fitting = [name for name in names if len(name) <= driver.NAME_LENGTH][:PLANNED_LIMIT]
    for name in fitting:
        add(nodes, name).is_file = True
    for node in nodes.values():
        node.children.sort(key=lambda child: (child.name.rpartition(".")[2] in LATE, bool(child.children), child.name))
    return top, nodes, len(names) - len(fitting)


def listed(distributions: Sequence[Distribution], site: str) -> set[str]:
    """Return the paths, relative to site-packages, that distributions say they installed, symbolic links resolved."""
    places = {str(one.locate_file(path)) for one in distributions for path in one.files or ()}
    # lib64 is a link to lib: a file in one is a module in the other.
    parents = {parent: os.path.realpath(parent) for parent in {os.path.dirname(place) for place in places}}
    real = (os.path.join(parents[os.path.dirname(place)], os.path.basename(place)) for place in places)
    return {os.path.relpath(path, site) for path in real if path.startswith(site + "/")}


def present(site: str) -> set[str]:
    """Return the paths of all files below site-packages, relative to it."""
    found: set[str] = set()
    for directory, _, names in os.walk(site):
        found.update(os.path.relpath(os.path.join(directory, name), site) for name in names)
    return found


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
    return ".".join(names)


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
