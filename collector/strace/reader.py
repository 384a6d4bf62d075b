"""Joins the lines of a trace into items."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from collector.strace import grammar
from collector.strace.items import Call, Exit, Familiar, Item, Note, Said, Signal, Unparsed

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator


_REMEMBERED: Final = 1 << 12
"""Texts of calls of which the parts are kept: programs open the same files again and again. Twice as many are no
quicker, since they have no room in a processor's cache."""
_LONGEST: Final = 1 << 10
"""Bytes of the longest text that is kept; so what is kept is bounded."""
_INTERRUPTED: Final = b" ...>"
"""Ends a line whose call is resumed on another."""
_NO_NAME: Final = frozenset({b"<", b"+", b"-", b"["})
"""Begin whatever is no call."""


class _Line(NamedTuple):
    """A line of a trace, cut into its parts."""

    number: int
    pid: bytes
    ts: bytes
    text: bytes


class _Pending(msgspec.Struct, frozen=True, gc=False):
    """A call that has been interrupted by another process's line."""

    line: int
    pid: bytes
    ts: bytes
    text: bytes
    """The call up to the interruption."""
    name: bytes
    executed: bool
    """Its thread changed pid: an execve that has succeeded already."""


class _Known(dict[bytes, Said]):
    """What the latest texts of calls say."""

    def learn(self, text: bytes) -> Said | None:
        """Read a text that is not known, and keep what it says; None when it is no whole call."""
        said = _said(text.rstrip(b"\r\n"))
        if said is not None and len(text) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[text] = said
        return said


def parse(lines: Iterable[bytes]) -> Iterator[Item]:
    """Yields the items of a trace in the order in which they were complete.

    Total: a line that is not understood becomes an `Unparsed`, nothing is raised or guessed. Each non-empty line is
    accounted for by exactly one item (as its `line` or its `end`). Calls still in flight when their process ends, or
    at the end of the trace, are yielded as `unfinished`.

    Args:
        lines: the trace, one line each, with or without the newline.
    """
    joiner = Joiner()
    for number, line in enumerate(lines, 1):
        for item in joiner.items(number, line):
            yield joiner.read(item) if isinstance(item, Familiar) else item
    yield from joiner.rest()


class Joiner:
    """Reads a trace line by line, and puts calls together again that other processes' lines have interrupted."""

    def __init__(self, is_familiar: Callable[[bytes], bool] = lambda _text: False) -> None:
        """Begin.

        Args:
            is_familiar: Whether whoever asks for the items knows what the text of a whole call says. What is put
                together to such a text is not read, but given as `Familiar`.
        """
        self.pending: dict[bytes, _Pending] = {}
        """The call in flight of each thread."""
        self._known = _Known()
        self._is_familiar = is_familiar

    def items(self, number: int, line: bytes) -> Iterable[Item | Familiar]:
        """The items that the next line completes, see `parse`."""
        begun = grammar.HEAD.match(line)
        if begun is None:
            return (Unparsed(number),) if line.rstrip(b"\r\n") else ()
        pid, ts, text = begun.groups()
        said = self._known.get(text)
        if said is None and (
            # It can be seen at once to be no whole call.
            text[:1] in _NO_NAME
            or (text.endswith(_INTERRUPTED) and b") =" not in text)
            or (said := self._known.learn(text)) is None
        ):
            return self._part(_Line(number, pid, ts, text.rstrip(b"\r\n")))
        call = Call(number, int(pid), float(ts), said, number)
        # A new call means that the one in flight returned unseen.
        return (*self._given_up(pid), call) if pid in self.pending else (call,)

    def read(self, familiar: Familiar) -> Item:
        """Reads a call after all."""
        said = self._known.get(familiar.text) or self._known.learn(familiar.text)
        if said is None:
            return Unparsed(familiar.line)
        return Call(familiar.line, familiar.pid, familiar.ts, said, familiar.end)

    def rest(self) -> Iterable[Item]:
        """What was still in flight at the end of the trace."""
        return map(_unfinished, self.pending.values())

    def _part(self, line: _Line) -> Iterable[Item | Familiar]:
        """The items of a line that is no whole call."""
        number, pid, ts, text = line
        # What comes first costs least: in a trace of threads two lines in five are parts of calls.
        if text.startswith(b"<") and (match := grammar.RESUMED.match(text)) is not None:
            return self._resumed(line, match)
        if text.endswith(_INTERRUPTED) and (match := grammar.UNFINISHED.match(text)) is not None:
            return self._interrupted(line, match)
        if (match := grammar.EXIT.match(text)) is not None:
            code = 0 if match[1] is None else int(match[1])
            end = Exit(number, int(pid), float(ts), code, (match[2] or b"").decode("ascii"))
            return (*self._died(pid), end)
        remark = _remark(int(pid), float(ts), text, number)
        if isinstance(remark, Note) and remark.kind == "superseded":
            return (*self._superseded(remark), remark)
        return (remark,)

    def _given_up(self, thread: bytes) -> tuple[Item, ...]:
        """What is in flight of this thread never returned."""
        return (_unfinished(self.pending.pop(thread)),) if thread in self.pending else ()

    def _died(self, thread: bytes) -> tuple[Item, ...]:
        """The thread ended, so that a call which was not known by name was never made."""
        begun = self.pending.get(thread)
        if begun is None or not _is_nameless(begun.name):
            return self._given_up(thread)
        del self.pending[thread]
        return (_nameless(begun, begun.line),)

    def _interrupted(self, line: _Line, match: re.Match[bytes]) -> Iterable[Item]:
        name, _, changed = match.groups()
        # A thread that executes comes back under the pid of its process.
        owner = changed or line.pid
        left = (*self._given_up(line.pid), *(self._died(owner) if changed else ())) if self.pending else ()
        self.pending[owner] = _Pending(
            line.number, line.pid, line.ts, line.text[: match.end(2)], name, changed is not None
        )
        return left

    def _superseded(self, note: Note) -> Iterable[Item]:
        """A thread's execve goes on under the pid of its process; the process's own call in flight never returned.

        When no other process's line came between, its own line had said so already (`<pid changed to ...>`).
        """
        thread, process = note.text.encode("ascii"), b"%d" % note.pid
        begun = self.pending.get(thread)
        if begun is None or thread == process:
            return ()
        del self.pending[thread]
        left = self._died(process)
        self.pending[process] = msgspec.structs.replace(begun, executed=True)
        return left

    def _resumed(self, line: _Line, match: re.Match[bytes]) -> Iterable[Item | Familiar]:
        name, rest = match.groups()
        begun = self.pending.get(line.pid)
        if begun is None or begun.name != name:
            return (Unparsed(line.number),)
        del self.pending[line.pid]
        text = begun.text + rest
        if grammar.NAMELESS.match(text) is not None:
            return (_nameless(begun, begun.line), _nameless(line, line.number))
        if not begun.executed and self._is_familiar(text):
            return (Familiar(begun.line, int(begun.pid), float(begun.ts), text, line.number),)
        said = self._known.get(text) or self._known.learn(text)
        if said is None:
            return (Unparsed(begun.line), Unparsed(line.number))
        if begun.executed:
            # strace prints a meaningless result here; the pid changes only when the program was replaced.
            said = msgspec.structs.replace(said, result=0, errno="")
        pid = line.pid if begun.executed else begun.pid
        return (Call(begun.line, int(pid), float(begun.ts), said, line.number),)


def _remark(pid: int, ts: float, text: bytes, number: int) -> Item:
    if (match := grammar.SIGNAL.match(text)) is not None:
        return Signal(number, pid, ts, match[1].decode("ascii"), match[2] or b"")
    if grammar.NAMELESS.match(text) is not None:
        return Note(number, pid, ts, "nameless", "")
    for kind, pattern in (
        ("superseded", grammar.SUPERSEDED),
        ("abi", grammar.MODE),
        ("stopped", grammar.STOPPED),
    ):
        if (match := pattern.match(text)) is not None:
            return Note(number, pid, ts, kind, match[1].decode("ascii", "backslashreplace"))
    return Unparsed(number)


def _is_nameless(name: bytes) -> bool:
    return name.startswith(b"?")


def _nameless(part: _Line | _Pending, line: int) -> Item:
    return Note(line, int(part.pid), float(part.ts), "nameless", "")


def _said(text: bytes) -> Said | None:
    """What a whole call says; None when the text is none."""
    match = grammar.CALL.match(text)
    if match is None:
        return None
    name, raw, _, result, annotation, errno, outer = match.groups()
    unfinished = raw.endswith(grammar.KILLED_INSIDE)
    unknown = result is None or (result == b"-1" and errno is None and grammar.STALE.search(text) is not None)
    return Said(
        sys.intern(name.decode("ascii")),
        raw.removesuffix(grammar.KILLED_INSIDE) if unfinished else raw,
        None if unknown else _number(result),
        annotation or b"",
        "" if errno is None else sys.intern(errno.decode("ascii")),
        None if outer is None else int(outer),
        unfinished,
    )


def _number(text: bytes) -> int:
    return int(text, 16) if text[1:2] == b"x" else int(text)


def _unfinished(left: _Pending) -> Item:
    said = _said(left.text + grammar.KILLED_INSIDE + b") = ?")
    return Unparsed(left.line) if said is None else Call(left.line, int(left.pid), float(left.ts), said, 0)
