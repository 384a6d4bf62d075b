"""What a trace consists of; every item knows its line, counted from 1."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from collector.strace.values import Argument, Descriptor, descriptor, parse_arguments

_SHORT: Final = 256
"""Bytes of the longest arguments of which the values are kept; so what is kept is bounded."""
_remembered: Final = lru_cache(1 << 10)(parse_arguments)


class Said(msgspec.Struct, frozen=True, gc=False):
    """What a call says, whoever makes it and when: calls that are alike share one."""

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


class Call(msgspec.Struct, frozen=True, gc=False):
    """One system call, joined when other processes' lines came between."""

    line: int
    pid: int
    """The calling thread, as the tracer sees it."""
    ts: float
    """Seconds since the epoch, at entry."""
    said: Said
    end: int = 0
    """The line the call ended on; `line` itself unless it was resumed, 0 when it never ended."""

    @property
    def name(self) -> str:
        """The call's name."""
        return self.said.name

    @property
    def raw(self) -> bytes:
        """The arguments as printed."""
        return self.said.raw

    @property
    def result(self) -> int | None:
        """What it returned; None when unknown."""
        return self.said.result

    @property
    def annotation(self) -> bytes:
        """See `Said.annotation`."""
        return self.said.annotation

    @property
    def errno(self) -> str:
        """The name of the error; empty on success, and when it has none."""
        return self.said.errno

    @property
    def outer_pid(self) -> int | None:
        """See `Said.outer_pid`."""
        return self.said.outer_pid

    @property
    def unfinished(self) -> bool:
        """See `Said.unfinished`."""
        return self.said.unfinished

    def arguments(self) -> tuple[Argument, ...] | None:
        """The arguments as values; None when they are not well formed."""
        raw = self.said.raw
        return _remembered(raw) if len(raw) <= _SHORT else parse_arguments(raw)

    def descriptor(self) -> Descriptor | None:
        """The result as a descriptor, when it carries an annotation."""
        said = self.said
        if said.result is None or not said.annotation:
            return None
        return descriptor(said.result, said.annotation)


class Familiar(msgspec.Struct, frozen=True, gc=False):
    """A call that was put together of two lines and not read: its reader knows what such a text says (`Joiner`)."""

    line: int
    pid: int
    ts: float
    text: bytes
    end: int


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
    """Something strace remarked: a change of ABI, a thread that another's execve ended, a stop, a call never made."""

    line: int
    pid: int
    ts: float
    kind: str
    """`abi`, `superseded`, `stopped` or `nameless` (a call that was never made, `grammar.NAMELESS`)."""
    text: str


class Unparsed(msgspec.Struct, frozen=True, gc=False):
    """A line that was not understood."""

    line: int


Item: TypeAlias = Call | Exit | Signal | Note | Unparsed
