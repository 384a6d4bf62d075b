"""Import every module of a distribution, each in a process of its own.

Started as `/usr/bin/python3 -I -S /opt/fumehood/importer.py --result-fd N --each S --budget S NAME`.

This root process never runs package code. For each top-level name it forks a process that turns itself into
an ordinary interpreter (`site` and the `.pth` files run) and imports the name; that process forks one more
for each submodule, and so on down the tree, so that a package is imported once and not once per submodule.
Every process announces itself on one socket; the kernel tells the root who is speaking, and the root alone
keeps the time. A process that has threads must not be forked: its submodules start afresh from the root.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fumehood_driver as driver
import fumehood_module_process as module_process
import fumehood_module_tree as tree

del sys.path[0]

if TYPE_CHECKING:
    from fumehood_module_tree import Node

JOBS = 2
SURVIVORS = 8
TICK = 0.05
QUIET = 5.0
SCM_CREDENTIALS = 2
ENDED = "its process ended during the import"
BELOW = {"failed": "failed", "timed-out": "unreached"}
STATES = ("imported", "failed", "timed-out", "unreached")


class Supervisor:
    """The root process's loop: starts jobs, believes only the kernel about who speaks, keeps the time."""

    def __init__(self, top: Node, nodes: dict[str, Node], each: float, budget: float) -> None:
        self.nodes = nodes
        self.each = each
        self.end = time.monotonic() + budget
        self.queue = list(top.children)
        self.jobs: dict[str, float] = {}  # name of a subtree's root -> when one of its processes was last heard
        self.running: dict[str, Node] = {}  # name -> node whose import has not ended
        self.alive: dict[str, Node] = {}  # name -> node whose import has ended, its process not (oldest first)
        self.gone: list[Node] = []  # whose process had ended when its first message came
        self.looked_at: list[Node] = []  # whose process cannot be polled (no pidfd_open)
        self.processors = sorted(os.sched_getaffinity(0))
        self.selector = selectors.DefaultSelector()
        self.channel, self.child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.channel.setblocking(False)
        self.selector.register(self.channel, selectors.EVENT_READ)

    def run(self) -> None:
        """Work until everything is done or the budget is spent."""
        while (self.queue or self.jobs) and time.monotonic() < self.end:
            while self.queue and len(self.jobs) < JOBS:
                self.start(self.queue.pop(0))
            for key, _ in self.selector.select(TICK):
                if key.data is not None:
                    self.receive_all()
                    self.ended(key.data)
            self.look()
            self.receive_all()
            self.bury()
            self.expire()

    def stop(self) -> None:
        """Kill what still imports; the modules not settled by now are unreached."""
        for node in [*self.running.values(), *(self.nodes[job] for job in self.jobs)]:
            self.kill(node)
        for node in self.nodes.values():
            if node.state in ("planned", "running"):
                node.state = "unreached"

    def start(self, node: Node) -> None:
        """Fork a fresh process for a subtree."""
        node.fresh = True
        processor = self.processors[len(self.jobs) % len(self.processors)]
        pid = os.fork()
        if pid == 0:
            module_process.become_fresh(node, self.child_end.fileno(), self.each, processor)
        self.jobs[node.name] = time.monotonic()
        self.watch(node, pid)

    def watch(self, node: Node, pid: int) -> None:
        """Follow the process that imports a node."""
        node.state, node.pid, node.since = "running", pid, time.monotonic()
        self.running[node.name] = node
        try:
            node.pidfd, node.polled = driver.follow(pid)
        except OSError:
            self.gone.append(node)  # its last words may still be on their way
            return
        if node.polled:
            self.selector.register(node.pidfd, selectors.EVENT_READ, node)
        else:
            self.looked_at.append(node)

    def look(self) -> None:
        """Find those that have ended among the processes that cannot be polled; first all they said is heard."""
        ended = [node for node in self.looked_at if driver.has_ended(node.pidfd)]
        self.receive_all()
        for node in ended:
            self.ended(node)

    def bury(self) -> None:
        """Settle those that were gone before anyone could follow them, once all they said is heard."""
        for node in self.gone:
            if node.state == "running":
                self.settle(node, "failed", ENDED)
        self.gone.clear()

    def receive_all(self) -> None:
        """Handle every message that is waiting."""
        while True:
            try:
                data, ancillary, _, _ = self.channel.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            sender = next((struct.unpack("3i", item)[0] for _, kind, item in ancillary if kind == SCM_CREDENTIALS), 0)
            try:
                kind, name, *details = json.loads(data)
                node = self.nodes[name]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            self.handle(sender, kind, node, details)

    def handle(self, sender: int, kind: str, node: Node, details: list[Any]) -> None:
        """Act on one message; what does not fit the state is ignored, it may come from package code."""
        for job in self.jobs:
            if tree.belongs(node.name, job):
                self.jobs[job] = time.monotonic()
        if kind == "start" and node.state == "planned":
            self.watch(node, sender)
        elif kind == "done" and node.state in ("planned", "running") and self.speaks_for(sender, node):
            succeeded, reason, drives = (*details, False, "", False)[:3]
            self.settle(node, "imported" if succeeded else "failed", str(reason))
            if succeeded and not drives:
                self.queue.extend(child for child in node.children if child.state == "planned")
        elif kind == "end" and node.name in self.jobs and node.pid == sender:
            self.close_job(node)

    def speaks_for(self, sender: int, node: Node) -> bool:
        """Tell whether a process may say how an import ended: its own, or before that one of a parent package."""
        if node.pid:
            return node.pid == sender
        names = node.name.split(".")
        return any(self.nodes[".".join(names[:end])].pid == sender for end in range(1, len(names)))

    def settle(self, node: Node, state: str, reason: str = "") -> None:
        """Record how an import ended, and with it what can no longer be imported below it."""
        node.state, node.reason, node.since = state, reason, time.monotonic()
        self.running.pop(node.name, None)
        if node.pidfd >= 0:
            self.alive[node.name] = node
        for child in tree.subtree(node) if state in BELOW else ():
            if child.state == "planned":
                child.state, child.reason = BELOW[state], f"its package {node.name} {state}"

    def ended(self, node: Node) -> None:
        """Take note that a process is gone."""
        if node.polled:
            self.selector.unregister(node.pidfd)
        else:
            self.looked_at.remove(node)
        os.close(node.pidfd)
        node.pidfd = -1
        self.alive.pop(node.name, None)
        if node.state == "running":
            self.settle(node, "failed", ENDED)
        if node.name in self.jobs:
            self.close_job(node)
        with contextlib.suppress(ChildProcessError):  # a grandchild: its own parent waits for it
            os.waitpid(node.pid, os.WNOHANG)

    def close_job(self, node: Node) -> None:
        """Free the job's place; what its processes left untouched gets one fresh start."""
        del self.jobs[node.name]
        for child in tree.untouched(node):
            if child.fresh:
                child.state = "unreached"
            elif child not in self.queue:
                self.queue.append(child)

    def expire(self) -> None:
        """Kill what ran over its time; let only a bounded number of finished processes live on."""
        now = time.monotonic()
        for node in list(self.running.values()):
            if now > node.since + self.each:
                self.settle(node, "timed-out")
                self.kill(node)
        for job, heard in list(self.jobs.items()):
            if now > heard + self.each + QUIET and not any(tree.belongs(name, job) for name in self.running):
                self.kill(self.nodes[job])
                self.close_job(self.nodes[job])
        for node in list(self.alive.values())[: max(0, len(self.alive) - SURVIVORS)]:
            if self.has_work(node):
                node.since = now
            elif now > node.since + QUIET and node.name not in self.jobs:
                # It was still at something: what that was going to be, nobody has seen.
                node.state = "timed-out"
                self.kill(node)

    def has_work(self, node: Node) -> bool:
        """Tell whether a process still looks after others below it, in a job that goes on."""
        if not any(tree.belongs(node.name, job) for job in self.jobs):
            return False
        return any(child.state in ("planned", "running") or child.name in self.alive for child in tree.subtree(node))

    def kill(self, node: Node) -> None:
        """Kill the process of a node and its process group."""
        if node.pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if node.polled:
                signal.pidfd_send_signal(node.pidfd, signal.SIGKILL)
            elif not driver.has_ended(node.pidfd):
                os.kill(node.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it may have left its group
            os.killpg(node.pid, signal.SIGKILL)


def report(nodes: dict[str, Node], unlisted: int) -> driver.Coverage:
    """Sum up the states of all modules."""
    modules = sorted((node for node in nodes.values() if node.is_file), key=lambda node: node.name)
    by_state = {state: [node for node in modules if node.state == state] for state in STATES}
    return driver.Coverage(
        unit="module",
        planned=len(modules) + unlisted,
        reached=len(by_state["imported"]) + len(by_state["failed"]),
        failed=[f"{node.name}: {node.reason}" for node in by_state["failed"]],
        timed_out=[node.name for node in by_state["timed-out"]],
        unreached=[node.name for node in by_state["unreached"]],
    )


def main() -> int:
    """Run the command line; exit code 0 when the report is written, 3 when the distribution is not installed."""
    arguments = driver.parse_arguments(__doc__.partition("\n")[0])
    driver.guard_root(arguments.result_fd)
    _, site_packages = driver.environment()
    distributions, others = driver.find_distributions(arguments.distribution, site_packages)
    if not distributions:
        driver.Coverage("module").write(arguments.result_fd)
        print(f"{arguments.distribution} is not installed", file=sys.stderr)
        return 3
    top, nodes, unlisted = tree.plan(distributions, others, site_packages)
    supervisor = Supervisor(top, nodes, arguments.each, arguments.budget)
    with contextlib.suppress(driver.Stopped):  # the report says what is missing
        supervisor.run()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervisor.stop()
    report(nodes, unlisted).write(arguments.result_fd)
    return 0


if __name__ == "__main__":
    sys.exit(main())
