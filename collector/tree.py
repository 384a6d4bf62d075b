"""The processes of a run as a tree: who started whom with which command, bounded and with likes together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from collector.events import AnyEvent, ProcessExec, ProcessExit, ProcessStart
from collector.redact import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.redact import Redactor

MOST: Final = 2000
"""Nodes of the tree that a report holds."""
DEEPEST: Final = 30
"""Generations that a report shows."""
ALIKE: Final = 20
"""More siblings than this that do the same become one node with a count."""
_COMMANDS: Final = 5
_ARGUMENTS: Final = 30
_ARGUMENT: Final = 500


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program that a process executed."""

    image: str
    argv: tuple[str, ...] = ()


class ProcessNode(msgspec.Struct, frozen=True, kw_only=True):
    """A process and what it started."""

    pid: int
    phase: str
    actor: str
    commands: tuple[Command, ...] = ()
    """Programs it executed, in order; empty for a fork that went on with its parent's program."""
    exit: str = ""
    """`0`, another exit code, or a signal's name; empty while it had not ended."""
    count: int = 1
    """Number of siblings that did exactly the same and are shown once; `pid` is the first of them."""
    omitted: int = 0
    """Number of processes below this one that are not shown, because of the bounds."""
    children: tuple[ProcessNode, ...] = ()


class ProcessTree(msgspec.Struct, frozen=True, kw_only=True):
    """The roots of the phases and all below them."""

    total: int = 0
    """Number of processes that were seen."""
    roots: tuple[ProcessNode, ...] = ()
    omitted: int = 0
    """Number of roots (with all below them) that are not shown."""


@dataclass(slots=True)
class _Process:
    """A process while the tree is being gathered."""

    pid: int
    phase: str
    actor: str
    commands: list[Command] = field(default_factory=list)
    exit: str = ""
    children: list[_Process] = field(default_factory=list)


class TreeReader:
    """Gathers the tree from the events of a run."""

    kinds: Final = (ProcessStart, ProcessExec, ProcessExit)

    def __init__(self, redactor: Redactor) -> None:
        """Begin.

        Args:
            redactor: Takes planted secrets out of what is quoted.
        """
        self._redactor = redactor
        self._alive: dict[int, _Process] = {}
        self._roots: list[_Process] = []
        self._total = 0

    def see(self, event: AnyEvent) -> None:
        """Take the next event, in order of time."""
        if not isinstance(event, ProcessStart | ProcessExec | ProcessExit) or event.pid == 0:
            return
        alive = self._alive
        process = alive.get(event.pid)
        if process is None:
            parent = 0 if isinstance(event, ProcessExit) else event.parent
            process = alive[event.pid] = _Process(event.pid, event.phase, event.actor)
            (alive[parent].children if parent in alive and parent != event.pid else self._roots).append(process)
            self._total += 1
        if isinstance(event, ProcessExec) and not event.errno:
            process.actor = event.actor
            process.commands.append(_command(event, self._redactor))
        elif isinstance(event, ProcessExit):
            process.exit = event.signal or str(event.code)
            # Numbers come again: what is new under this one has another parent.
            del alive[event.pid]

    def tree(self) -> ProcessTree:
        """Give what was gathered."""
        shapes: dict[_Shape, int] = {}
        nodes = _together([_node(root, 1, shapes) for root in self._roots])
        allowed = _within_bound(nodes)
        shown = tuple(_pruned(node, allowed) for node in nodes if id(node) in allowed)
        left = sum(node.count for node in nodes if id(node) not in allowed)
        return ProcessTree(total=self._total, roots=shown, omitted=left)


def _command(event: ProcessExec, redactor: Redactor) -> Command:
    argv = tuple(excerpt(redactor.text(argument), _ARGUMENT) for argument in event.argv[:_ARGUMENTS])
    if len(event.argv) > _ARGUMENTS:
        argv += (f"… (+{len(event.argv) - _ARGUMENTS} arguments)",)
    return Command(image=excerpt(redactor.text(event.image), _ARGUMENT), argv=argv)


_Shape = tuple[str, str, tuple[Command, ...], str, tuple[int, ...], int]
"""What a process and all below it did, without numbers: subtrees that did the same have the same shape."""


def _node(process: _Process, generation: int, shapes: dict[_Shape, int]) -> tuple[ProcessNode, int]:
    """The node of `process` and the number of its shape."""
    deepest = generation >= DEEPEST
    children = [] if deepest else [_node(child, generation + 1, shapes) for child in process.children]
    node = ProcessNode(
        pid=process.pid,
        phase=process.phase,
        actor=process.actor,
        commands=_few(process.commands),
        exit=process.exit,
        omitted=_below(process) if deepest else 0,
        children=_together(children),
    )
    below = tuple(shape for _, shape in children)
    shape = (node.phase, node.actor, node.commands, node.exit, below, node.omitted)
    return node, shapes.setdefault(shape, len(shapes))


def _few(commands: list[Command]) -> tuple[Command, ...]:
    """The first commands and the last: an endless chain of execs must not fill the report."""
    if len(commands) <= _COMMANDS:
        return tuple(commands)
    note = Command(image=f"… (+{len(commands) - _COMMANDS} programs)")
    return (*commands[: _COMMANDS - 1], note, commands[-1])


def _below(process: _Process) -> int:
    pending, number = list(process.children), 0
    while pending:
        number += 1
        pending.extend(pending.pop().children)
    return number


def _together(nodes: Sequence[tuple[ProcessNode, int]]) -> tuple[ProcessNode, ...]:
    """Put siblings of one shape in one node when there are more than `ALIKE` of them."""
    counts = Counter(shape for _, shape in nodes)
    seen: set[int] = set()
    kept = []
    for node, shape in nodes:
        if counts[shape] <= ALIKE:
            kept.append(node)
        elif shape not in seen:
            seen.add(shape)
            kept.append(msgspec.structs.replace(node, count=counts[shape]))
    return tuple(kept)


def _within_bound(roots: Sequence[ProcessNode]) -> set[int]:
    """Identities of the first `MOST` nodes, generation by generation: width in one place must not hide the rest."""
    allowed: set[int] = set()
    generation = list(roots)
    while generation and len(allowed) < MOST:
        allowed.update(id(node) for node in generation[: MOST - len(allowed)])
        generation = [child for node in generation if id(node) in allowed for child in node.children]
    return allowed


def _pruned(node: ProcessNode, allowed: set[int]) -> ProcessNode:
    kept = tuple(_pruned(child, allowed) for child in node.children if id(child) in allowed)
    left = sum(_size(child) for child in node.children if id(child) not in allowed)
    return msgspec.structs.replace(node, children=kept, omitted=node.omitted + left)


def _size(node: ProcessNode) -> int:
    return node.count * (1 + node.omitted + sum(_size(child) for child in node.children))
