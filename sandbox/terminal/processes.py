"""The process tree of a report: one line a process, likes together, as many lines as a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.tree import Command, ProcessNode, ProcessTree
    from sandbox.terminal.page import Page

_LINES: Final = 80
_LINES_SHORT: Final = 15
_COMMAND: Final = 160
"""Characters of a command line shown."""
_SYSTEM: Final = frozenset({"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"})
"""Directories of the read-only root filesystem: what lies there is what its name says."""


@dataclass(frozen=True, slots=True)
class _Line:
    branch: str
    node: ProcessNode
    count: int


def render_processes(page: Page, tree: ProcessTree, *, home: str, short: bool = False) -> None:
    """Write the tree.

    Args:
        page: Where to.
        tree: The processes of a run.
        home: The tracee's home directory, shown as `~`.
        short: Show little of it, for runs in which nothing happened.
    """
    page.heading("Processes")
    most = _LINES_SHORT if short else _LINES
    joints = ("|- ", "`- ", "|  ", "   ") if page.ascii_only else ("├─ ", "└─ ", "│  ", "   ")
    lines = list(_lines(tree.roots, joints))
    # The first generations say most: the tree loses its depths before it loses its end.
    ranked = sorted(range(len(lines)), key=lambda number: (len(lines[number].branch), number))
    shown = [lines[number] for number in sorted(ranked[:most])]
    phase = ""
    for line in shown:
        if not line.branch and line.node.phase != phase:
            phase = line.node.phase
            page.line(page.text((phase, "dim")), 1)
        page.rows(
            [[page.text((f"{line.branch}{line.node.pid}", "dim")), page.text(*_words(line, home))]], indent=2, gap=1
        )
    hidden = tree.total - sum(line.count for line in shown)
    if hidden > 0:
        page.line(page.text((f"and {hidden:,} more of {tree.total:,} processes", "dim")), 1)
    if not tree.total:
        page.line(page.text("none was seen"), 1)


def _lines(roots: Sequence[ProcessNode], joints: tuple[str, str, str, str]) -> Iterator[_Line]:
    tee, corner, bar, space = joints
    pending = [(_Line("", node, count), "") for node, count in _alike(roots)][::-1]
    while pending:
        line, stem = pending.pop()
        yield line
        children = _alike(line.node.children)
        below = [
            (_Line(stem + (corner if last else tee), node, count), stem + (space if last else bar))
            for last, (node, count) in ((at == len(children) - 1, child) for at, child in enumerate(children))
        ]
        pending += below[::-1]


def _alike(nodes: Sequence[ProcessNode]) -> list[tuple[ProcessNode, int]]:
    """Siblings that ran the same and started nothing, together with their number."""
    counts: dict[object, tuple[ProcessNode, int]] = {}
    for node in nodes:
        key = (node.phase, node.actor, node.commands, node.exit) if not node.children and not node.omitted else node
        first, count = counts.get(key, (node, 0))
        counts[key] = first, count + node.count
    return list(counts.values())


def _words(line: _Line, home: str) -> list[str | tuple[str, str]]:
    node = line.node
    commands = [_command(command, home) for command in node.commands] or ["(fork)"]
    parts: list[str | tuple[str, str]] = [" then ".join(commands)]
    if node.actor != "target":
        parts.append((f"  {node.actor}", "cyan"))
    if node.exit not in {"", "0"}:
        parts.append((f"  exit {node.exit}", "yellow"))
    if line.count > 1:
        parts.append((f"  {line.count:,} times", "dim"))
    if node.omitted:
        parts.append((f"  and {node.omitted:,} below", "dim"))
    return parts


def _command(command: Command, home: str) -> str:
    directory, _, name = command.image.rpartition("/")
    image = name if directory in _SYSTEM else command.image
    if home and image.startswith(f"{home}/"):
        image = f"~{image.removeprefix(home)}"
    words = " ".join((image, *command.argv[1:]))
    return words if len(words) <= _COMMAND else f"{words[:_COMMAND]}…"
