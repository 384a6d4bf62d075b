"""What a trace consists of; every item knows its line, counted from 1."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from collector.strace.values import Argument, Descriptor, descriptor, parse_arguments


class Call(msgspec.Struct, frozen=True, gc=False):
    """One system call, joined when other processes' lines came between."""

    line: int
    pid: int
    """The calling thread, as the tracer sees it."""
    ts: float
    """Seconds since the epoch, at entry."""
    name: str
    raw: bytes
    """The arguments as printed."""
    result: int | None = None
    """None when unknown: `?`, or a call that never returned."""
    annotation: bytes = b""
    """What the result refers to when it is a descriptor, with its angle brackets."""
    errno: str = ""
    outer_pid: int | None = None
    """The result as a pid in the tracer's pid namespace, when strace translated it."""
    unfinished: bool = False
    """The call was still in flight when its process ended or the trace did."""
    end: int = 0
    """The line the call ended on; `line` itself unless it was resumed, 0 when it never ended."""

    def arguments(self) -> tuple[Argument, ...] | None:
        """The arguments, parsed anew at each call; None when they are not well formed."""
        return parse_arguments(self.raw)

    def descriptor(self) -> Descriptor | None:
        """The result as a descriptor, when it carries an annotation."""
        if self.result is None or not self.annotation:
            return None
        return descriptor(self.result, self.annotation)


class Exit(msgspec.Struct, frozen=True, gc=False):
    """A thread ended: with a code, or by a signal."""

    line: int
    pid: int
    ts: float
    code: int = 0
    signal: str = ""


class Signal(msgspec.Struct, frozen=True, gc=False):
    """A signal was delivered."""

    line: int
    pid: int
    ts: float
    name: str
    raw: bytes = b""
    """The siginfo as printed."""


class Note(msgspec.Struct, frozen=True, gc=False):
    """Something strace remarked: a change of ABI, a thread superseded by another's execve, a stop."""

    line: int
    pid: int
    ts: float
    kind: str
    """`abi`, `superseded` or `stopped`."""
    text: str


class Unparsed(msgspec.Struct, frozen=True, gc=False):
    """A line that was not understood."""

    line: int


Item: TypeAlias = Call | Exit | Signal | Note | Unparsed
