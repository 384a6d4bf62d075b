"""One call on its way to events: the call, its process and where the results go."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from collector.eventlog import Ordering
from collector.events import Source
from collector.live_processes import Peer, Socket
from collector.strace import Argument, Call, Descriptor, Group, Text, Value, Word
from collector.syscalls.paths import MAX_TEXT, absolute, decoded, named_descriptor

if TYPE_CHECKING:
    from collector.events import AnyEvent
    from collector.live_processes import Known, LiveProcess, ProcessTableBuilder
    from collector.syscalls.trace import Send

_T = TypeVar("_T")
UNFINISHED: Final = "UNFINISHED"
"""Stands as errno of a call that was never seen to return: an attempt of unknown outcome."""


class Output:
    """Collects what one phase's trace gives."""

    def __init__(self, phase: str, source: str, table: ProcessTableBuilder, linger: float = math.inf) -> None:
        self.phase = phase
        self.source = source
        self.table = table
        self.linger = linger
        self.order = Ordering()
        self.events = self.order.pending
        self.sends: list[Send] = []
        self.sent_bytes = 0
        self.sockets: dict[bytes, str] = {}
        """Protocol by a socket's name (`socket:[7]`), where the trace tells how it was made."""

        self.dialled: dict[bytes, Peer] = {}
        """Where a socket leads, by the name it had when it was dialled."""

    def remember(self, sockets: dict[bytes, _T], name: bytes, what: _T) -> None:
        """Keep something of a socket in one of the two, as long as there are not too many."""
        if name in sockets or self.table.allowance.takes("sockets"):
            sockets[name] = what

    def peer(self, what: Known | None) -> Peer | None:
        """The far end of a descriptor that is a connected internet socket."""
        if isinstance(what, Socket):
            return self.dialled.get(what.name)
        return what if isinstance(what, Peer) else None

    def phase_at(self, ts: float) -> str:
        """The phase an event belongs to: what survives its phase until `linger` acts in `linger`."""
        return "linger" if ts >= self.linger else self.phase


class Step:
    """A call being turned into events."""

    __slots__ = ("_arguments", "call", "idle", "malformed", "out", "process")

    def __init__(self, call: Call, process: LiveProcess, out: Output) -> None:
        self.call = call
        self.process = process
        self.out = out
        self.malformed = False
        """The arguments were looked at and are not well formed."""
        self.idle = False
        """Such a call never leads to anything, whoever makes it and when."""
        self._arguments: tuple[Argument, ...] | None = None

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The call's arguments, parsed once; empty when they are not well formed."""
        if self._arguments is None:
            parsed = self.call.arguments()
            self.malformed = parsed is None
            self._arguments = parsed or ()
        return self._arguments

    @property
    def succeeded(self) -> bool:
        """Whether the call is known to have worked."""
        return self.call.result is not None and self.call.result >= 0

    @property
    def errno(self) -> str:
        """The name of the error, empty on success."""
        if self.call.errno:
            return self.call.errno
        if self.call.result is None:
            return UNFINISHED
        # An error without a name, e.g. `-1 (errno 512)`, is one all the same.
        return "EUNKNOWN" if self.call.result == -1 else ""

    @property
    def pid(self) -> int:
        """The process (not the thread) that called."""
        return self.process.pid

    @property
    def phase(self) -> str:
        """The phase the call belongs to."""
        return self.out.phase_at(self.call.ts)

    @property
    def source(self) -> Source:
        """Where the call stands in the bundle."""
        return Source(self.out.source, self.call.line)

    def emit(self, build: Callable[..., AnyEvent], *, errno: str | None = None, **fields: object) -> None:
        """Adds an event of this call; `fields` are the event's own, `errno` overrides the call's."""
        call, out = self.call, self.out
        event = build(
            ts=call.ts,
            phase="linger" if call.ts >= out.linger else out.phase,
            pid=self.process.pid,
            source=Source(out.source, call.line),
            errno=self.errno if errno is None else errno,
            **fields,
        )
        out.events.append(event)

    def value(self, index: int) -> Value | None:
        """The argument at this place, counted from 0."""
        arguments = self.arguments
        return arguments[index].value if index < len(arguments) else None

    def named(self, name: str) -> Value | None:
        """The argument printed under this name."""
        return next((argument.value for argument in self.arguments if argument.name == name), None)

    def word(self, index: int) -> bytes:
        """The unquoted argument at this place; empty when it is something else."""
        value = self.value(index)
        return value.text if isinstance(value, Word) else b""

    def text(self, index: int) -> str | None:
        """The string at this place, None when strace could not read it."""
        value = self.value(index)
        return decoded(value.value) if isinstance(value, Text) else None

    def base(self, index: int | None) -> str:
        """The directory that relative paths start from: a descriptor's at `index`, else the working directory."""
        value = None if index is None else self.value(index)
        if isinstance(value, Descriptor):
            path = decoded(value.target)
            if value.number < 0 and path.startswith("/"):
                self.process.cwd = path
            return path
        return self.process.cwd

    def path(self, index: int, base: int | None = None) -> str | None:
        """The path at this place made absolute; None when strace could not read it."""
        text = self.text(index)
        if text is None:
            return None
        found = absolute(text, self.base(base))
        if len(found) >= MAX_TEXT:
            # No path that the kernel takes at once is so long. Reached by steps it is, and is cut: names below can no
            # longer be told apart, so that a secret that was moved there would be read unseen.
            self.malformed = True
        return found

    def unreadable(self) -> bool:
        """Whether a missing path or address is no loss: the call failed or never returned."""
        return not self.succeeded

    def descriptor_path(self, path: str) -> str:
        """The file behind `/proc/self/fd/N` as far as it is known, else the path itself."""
        number = named_descriptor(path)
        known = None if number is None else self.process.descriptors.get(number)
        return known if isinstance(known, str) else path


Handler: TypeAlias = Callable[[Step], bool]
"""Turns a call into events; false when its arguments were not understood."""


def cut(step: Step) -> bool:
    """Whether strace cut a string or a list in the call's arguments."""
    raw = step.call.raw
    if b'"...' not in raw and b", ...]" not in raw:
        return False
    todo = [argument.value for argument in step.arguments]
    while todo:
        value = todo.pop()
        if isinstance(value, Group):
            todo.extend(item.value for item in value.items)
        elif isinstance(value, Text):
            if value.truncated:
                return True
        elif isinstance(value, Word) and value.text == b"...":
            return True
    return False
