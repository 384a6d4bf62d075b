"""The process tree keeps who started whom, and stays small whatever a package forks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from collector import tree as tree_module
from collector.readers import show
from collector.redact import Redactor
from collector.text import parse
from collector.tree import ALIKE, DEEPEST, ProcessNode, ProcessTree, TreeReader
from tests.collector.bundles import AWS_VALUE, BAITS

if TYPE_CHECKING:
    from collector.events import AnyEvent


def grown(*lines: str) -> ProcessTree:
    events: list[AnyEvent] = [parse(line) for line in lines]
    reader = TreeReader(Redactor.of(BAITS))
    show(events, [reader])
    return reader.tree()


def size(nodes: tuple[ProcessNode, ...]) -> int:
    return sum(1 + size(node.children) for node in nodes)


def counted(nodes: tuple[ProcessNode, ...]) -> int:
    return sum(node.count * (1 + node.omitted + counted(node.children)) for node in nodes)


def test_forks_commands_and_exits() -> None:
    result = grown(
        'install installer 10 process.exec image=/usr/bin/python argv=["python","pip"] parent=2',
        "install build-backend 11 process.start parent=10",
        'install build-backend 11 process.exec image=/bin/sh argv=["sh","-c","x"] parent=10',
        "install target 11 process.exec image=/bin/none errno=ENOENT parent=10",
        'install target 11 process.exec image=/usr/bin/x argv=["x"] parent=10',
        "install target 12 process.start parent=11",
        "install target 12 process.exit signal=SIGKILL",
        "install target 11 process.exit code=3",
    )
    assert result.total == 3
    (root,) = result.roots
    assert (root.pid, root.actor, root.exit) == (10, "installer", "")
    (child,) = root.children
    assert [command.image for command in child.commands] == ["/bin/sh", "/usr/bin/x"]
    assert (child.actor, child.exit) == ("target", "3")
    assert child.children[0].exit == "SIGKILL"
    assert child.children[0].commands == ()


def test_a_number_that_comes_again_is_another_process() -> None:
    result = grown(
        "import target 5 process.start parent=1",
        "import target 6 process.start parent=5",
        "import target 5 process.exit",
        "import target 5 process.start parent=6",
        "import target 6 process.exit",
        "import target 6 process.exit",
    )
    assert [node.pid for node in result.roots] == [5, 6]
    assert result.roots[0].children[0].children[0].pid == 5


def test_likes_are_put_together_only_beyond_the_bound() -> None:
    def forks(number: int) -> ProcessTree:
        started = [f"import target {pid} process.start parent=1" for pid in range(2, 2 + number)]
        return grown("import target 1 process.exec image=/p", *started)

    assert len(forks(ALIKE).roots[0].children) == ALIKE
    (only,) = forks(ALIKE + 1).roots[0].children
    assert (only.pid, only.count) == (2, ALIKE + 1)


def test_unlike_siblings_stay_apart() -> None:
    lines = ["import target 1 process.exec image=/p"]
    for pid in range(2, 80):
        lines += [f"import target {pid} process.start parent=1", f"import target {pid} process.exit code={pid % 2}"]
    assert [(node.pid, node.count, node.exit) for node in grown(*lines).roots[0].children] == [
        (2, 39, "0"),
        (3, 39, "1"),
    ]


def test_whole_branches_are_compared() -> None:
    lines = ["import target 1 process.exec image=/p"]
    for pid in range(10, 400, 10):
        last = "/odd" if pid == 200 else "/usual"
        lines += [
            f"import target {pid} process.start parent=1",
            f"import target {pid + 1} process.start parent={pid}",
            f"import target {pid + 1} process.exec image={last} parent={pid}",
        ]
    children = grown(*lines).roots[0].children
    assert [(node.pid, node.count) for node in children] == [(10, 38), (200, 1)]


def test_depth_is_bounded_and_said() -> None:
    chain = [f"import target {pid} process.start parent={pid - 1}" for pid in range(2, 5002)]
    result = grown("import target 1 process.exec image=/p", *chain)
    assert result.total == 5001
    assert size(result.roots) == DEEPEST
    assert counted(result.roots) == 5001


def test_width_is_bounded_and_said() -> None:
    lines = ["import target 1 process.exec image=/p", "import target 2 process.start parent=1"]
    lines += [f"import target {pid} process.start parent=2" for pid in range(10, 10_000)]
    lines += [f"import target {pid} process.exec image=/bin/x{pid} parent=2" for pid in range(10, 10_000)]
    lines += ["linger target 3 process.start parent=1", "linger target 4 process.start parent=3"]
    result = grown(*lines)
    assert size(result.roots) == tree_module.MOST
    assert counted(result.roots) == result.total
    assert [node.pid for node in result.roots[0].children] == [2, 3]


def test_roots_are_bounded_and_said() -> None:
    result = grown(*(f"import target {pid} process.exec image=/bin/x{pid}" for pid in range(1, 3001)))
    assert len(result.roots) == tree_module.MOST
    assert result.omitted == 3000 - tree_module.MOST


def test_commands_are_bounded_and_hold_no_bait() -> None:
    argv = json.dumps(["x", f"--key={AWS_VALUE}", "y" * 10_000, *("z" * 100)])
    lines = [f"import target 1 process.exec image=/bin/{number} argv={argv}" for number in range(50)]
    commands = grown(*lines).roots[0].commands
    assert [command.image for command in commands] == [
        "/bin/0",
        "/bin/1",
        "/bin/2",
        "/bin/3",
        "… (+45 programs)",
        "/bin/49",
    ]
    assert commands[0].argv[1] == "--key=\u2039bait:aws-secret-access-key\u203a"
    assert len(commands[0].argv) == 31
    assert len(commands[0].argv[2]) < 600
    assert commands[0].argv[-1] == "… (+73 arguments)"
