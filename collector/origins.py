"""How a program that was executed came to be: written by the package, or downloaded by it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from collector.allowance import Allowance
from collector.events import AnyEvent, FileWrite, HttpRequest, NetworkConnect, ProcessExec

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.processes import ProcessTable

_INSTALLER: Final = "installer"
_NO_STRANGER: Final = frozenset({"registry", "local"})
_DNS_PORT: Final = 53
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "busybox"})


class _Writer(NamedTuple):
    """Who wrote a program, and when."""

    pid: int
    ts: float


class Origins:
    """Decides the origin of each execution of a run."""

    def __init__(
        self, processes: ProcessTable, actor: Callable[[int, float], str], allowance: Allowance | None = None
    ) -> None:
        """Take the run.

        Args:
            processes: Its processes.
            actor: Who a process acted for at a moment (seconds since the epoch) that has been attributed already.
            allowance: How many files are followed.
        """
        self._processes = processes
        self._actor = actor
        self._allowance = allowance or Allowance()
        self._fetched: dict[int, float] = {}
        """When each process first turned to a stranger's host."""
        self._below: dict[int, float] = {}
        """When a process below each process first did."""
        self._climbed: set[int] = set()
        """Identities of processes above which all have it noted."""
        self._written: dict[str, _Writer] = {}
        """Who but the installer wrote to a path last."""

    def explained(self, event: AnyEvent) -> AnyEvent:
        """Give the next event in order of time, which has its actor and role, with the origin of what was executed."""
        if isinstance(event, ProcessExec):
            return self._explain(event) if event.origin == "written" else event
        if event.actor == _INSTALLER or event.errno:
            return event
        if isinstance(event, FileWrite):
            if event.path in self._written or self._allowance.takes("programs' files"):
                self._written[event.path] = _Writer(event.pid, event.ts)
        elif event.pid and event.pid not in self._fetched and _is_fetch(event):
            self._fetched[event.pid] = event.ts
            self._climb(event.pid, event.ts)
        return event

    def _climb(self, pid: int, ts: float) -> None:
        """Note the fetch for all processes above this one, up to where an earlier one has been noted."""
        process = self._processes.get(pid, ts)
        while process is not None and id(process) not in self._climbed:
            self._climbed.add(id(process))
            process = self._processes.get(process.parent, process.started) if process.parent else None
            if process is not None:
                self._below.setdefault(process.pid, ts)

    def _explain(self, event: ProcessExec) -> AnyEvent:
        writer = self._writer(event)
        if writer is None:
            return msgspec.structs.replace(event, origin="")
        return msgspec.structs.replace(event, origin="downloaded") if self._downloaded(writer, event.ts) else event

    def _writer(self, event: ProcessExec) -> _Writer | None:
        """The last process but the installer that wrote the program; None when only the installer did."""
        process = self._processes.get(event.pid, event.ts)
        executions = process.executions if process else ()
        written = next((one.written for one in executions if one.source == event.source), None)
        path = written.path if written else event.image
        if (later := self._written.get(path)) is not None:
            return later
        if written is None or self._actor(written.pid, written.ts) == _INSTALLER:
            return None
        return _Writer(written.pid, written.ts)

    def _downloaded(self, writer: _Writer, executed: float) -> bool:
        """Whether what was written can have come from a stranger's host.

        A shell opens the file before the downloader runs (`curl x > f`, `curl x | tee f`), so the writer itself and
        its pipeline count until the execution; parents and children of the writer only until the writing.
        """
        late = {writer.pid, *self._pipeline(writer)}
        early = {process.pid for process in self._processes.ancestors(writer.pid, writer.ts)}
        return (
            any(self._fetched.get(pid, executed) < executed for pid in late)
            or any(self._fetched.get(pid, writer.ts) < writer.ts for pid in early)
            or self._below.get(writer.pid, writer.ts) < writer.ts
        )

    def _pipeline(self, writer: _Writer) -> frozenset[int]:
        """The processes beside the writer that the same shell was running at the time."""
        process = self._processes.get(writer.pid, writer.ts)
        shell = self._processes.get(process.parent, process.started) if process and process.parent else None
        execution = shell.execution(process.started) if shell and process else None
        if process is None or shell is None or execution is None:
            return frozenset()
        if posixpath.basename(execution.image) not in _SHELLS:
            return frozenset()
        beside = (self._processes.get(pid, process.started) for pid in shell.children)
        return frozenset(
            one.pid
            for one in beside
            if one is not None
            and (one.ended is None or one.ended >= process.started)
            and (process.ended is None or one.started <= process.ended)
        )


def _is_fetch(event: AnyEvent) -> bool:
    if isinstance(event, HttpRequest):
        return event.role not in _NO_STRANGER
    return (
        isinstance(event, NetworkConnect)
        and event.protocol != "udp"
        and event.port != _DNS_PORT
        and event.role not in _NO_STRANGER
    )
