"""The importer's processes that run package code: import a module, then fork for the modules below it.

From its first import on, such a process is the package's own; what it reports is a claim. The functions of
the standard library needed later are bound here, before a package can replace them.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import os
import select
import signal
import site
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, NoReturn

import fumehood_driver as driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from fumehood_module_tree import Node

    Children = dict[int, tuple[int, int, float]]
    """By process id: pidfd or -1, read end of its leash, deadline."""

SLOTS = 2
LOOK_EVERY = 0.05
GRACE = 2.0
LET_GO = b"x"
ALIVE = b"."
_fork, _exit, _getpid, _write, _poll, _monotonic = os.fork, os._exit, os.getpid, os.write, select.poll, time.monotonic


class Voice:
    """Speaks to the root, and to the process that forked this one."""

    def __init__(self, channel: int, leash: int = -1) -> None:
        self.channel = channel
        self.leash = leash
        self.identity = self._identify()

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.fstat(self.channel)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def tell(self, kind: str, name: str, *details: bool | str) -> None:
        """Send one message, unless package code has closed the channel or put something else in its place."""
        if self._identify() == self.identity:
            _write(self.channel, json.dumps([kind, name, *details]).encode())

    def pull(self, signal_byte: bytes) -> None:
        """Tell the parent that this process is alive, or that it need not be waited for."""
        if self.leash >= 0:
            try:
                _write(self.leash, signal_byte)
            except OSError:
                self.leash = -1


def become_fresh(node: Node, channel: int, each: float, processor: int) -> NoReturn:
    """Turn a fork of the root into an ordinary interpreter that imports `node`. Never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.closerange(3, channel)
        os.closerange(channel + 1, 1 << 16)
        # Numeric libraries then start no threads of their own at import, and their packages can be forked.
        os.sched_setaffinity(0, {processor})
        driver.set_dumpable(1)
        pose_as_interpreter()
        work(node, Voice(channel), each, start_site)
    finally:
        _exit(70)


def pose_as_interpreter() -> None:
    """Undo what `-I -S` and this program left visible, as after `python -c 'import ...'`."""
    ordinary = {"isolated": 0, "ignore_environment": 0, "no_user_site": 0, "no_site": 0, "safe_path": False}
    names = sys.flags.__match_args__
    sys.flags = collections.namedtuple("flags", names)(
        *(ordinary.get(name, getattr(sys.flags, name)) for name in names)
    )
    sys.argv[:] = ["-c"]
    main = types.ModuleType("__main__")
    main.__builtins__ = sys.modules["builtins"]
    sys.modules["__main__"] = main
    for name in [name for name in sys.modules if name.startswith("fumehood_")]:
        del sys.modules[name]


def start_site() -> None:
    """Do what an interpreter does between its start and the first statement: `.pth` files run here."""
    site.main()
    sys.path.insert(0, "")


def work(node: Node, voice: Voice, each: float, prepare: Callable[[], object] | None = None) -> NoReturn:
    """Import, report, look after the modules below, end like an interpreter. Never returns."""
    me = _getpid()
    succeeded, reason = try_import(node.name, prepare)
    if _getpid() != me:
        finalise()  # a copy that the package forked: in an ordinary interpreter it ends here
    drives = succeeded and count_threads() == 1
    voice.tell("done", node.name, succeeded, reason, drives)
    if drives:
        drive(node, voice, each)
    until = _monotonic() + GRACE
    while count_threads() > 1 and _monotonic() < until:
        _poll().poll(50)  # not sleep: the tracer cuts sleeping short
    voice.tell("end", node.name)
    if count_threads() > 1:
        voice.pull(LET_GO)
    finalise()


def try_import(name: str, prepare: Callable[[], object] | None) -> tuple[bool, str]:
    """Import one module; return whether it worked, and else one line that says why not."""
    try:
        if prepare:
            prepare()
        __import__(name)
    except BaseException as error:  # noqa: BLE001 - the package may raise anything
        return False, describe(error)
    return True, ""


def describe(error: BaseException) -> str:
    """Say in one line what was raised; the exception's own text may itself misbehave."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - hostile __str__
        text = "(no text)"
    return driver.printable(f"{kind}: {text}", driver.REASON_LENGTH)


def count_threads() -> int:
    """Return how many threads the kernel sees in this process."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def drive(node: Node, voice: Voice, each: float) -> None:
    """Fork a process for each module below `node`, two at a time; those already imported count as done."""
    pending = collections.deque(node.children)
    running: Children = {}
    while pending or running:
        while pending and len(running) < SLOTS:
            child = pending.popleft()
            if sys.modules.get(child.name) is not None:
                voice.tell("done", child.name, True, "", True)
                pending.extend(child.children)
            else:
                spawn(child, voice, each, running)
        attend(running, each)
        voice.pull(ALIVE)


def spawn(child: Node, voice: Voice, each: float, running: Children) -> None:
    """Fork the process that imports `child` and note how to follow it: pid, leash, deadline by pidfd."""
    reader, writer = os.pipe()
    pid = _fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            for descriptor in (reader, *descriptors(running)):
                os.close(descriptor)
            voice.pull(ALIVE)
            mine = Voice(voice.channel, writer)
            mine.tell("start", child.name)
            work(child, mine, each)
        finally:
            _exit(70)
    os.close(writer)
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # gVisor of 2022 has none: its leash tells too, unless it has left that to others
        pidfd = -1
    running[pid] = (pidfd, reader, _monotonic() + each + GRACE + 1)


def descriptors(running: Children) -> list[int]:
    """Return what is open for the children."""
    return [descriptor for pidfd, leash, _ in running.values() for descriptor in (pidfd, leash) if descriptor >= 0]


def has_ended(pid: int) -> bool:
    """Tell whether a child is gone or a zombie; it stays one for `waitpid`."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def attend(running: Children, each: float) -> None:
    """Wait until a child ends, lets go or is late; forget it then. The root does the killing."""
    if not running:
        return
    poll = _poll()
    for descriptor in descriptors(running):
        poll.register(descriptor, select.POLLIN)
    patience = max(0.0, min(deadline for _, _, deadline in running.values()) - _monotonic())
    if any(pidfd < 0 for pidfd, _, _ in running.values()):
        patience = min(patience, LOOK_EVERY)
    ready = {descriptor for descriptor, _ in poll.poll(patience * 1000)}
    for pid, (pidfd, leash, deadline) in list(running.items()):
        pulled = os.read(leash, 4096) if leash in ready else b""
        if pidfd in ready or (pidfd < 0 and has_ended(pid)):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        elif LET_GO not in pulled and leash not in ready and _monotonic() < deadline:
            continue
        elif pulled and LET_GO not in pulled:
            running[pid] = (pidfd, leash, _monotonic() + each + GRACE + 1)
            continue
        os.close(leash)
        if pidfd >= 0:
            os.close(pidfd)
        del running[pid]


def finalise() -> NoReturn:
    """End like an interpreter: wait for threads, run exit handlers, flush. Never returns."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        _exit(0)
