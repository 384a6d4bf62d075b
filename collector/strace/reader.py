"""Joins the lines of a trace into items."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from collector.strace import grammar
from collector.strace.items import Call, Exit, Item, Note, Signal, Unparsed

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator


_REMEMBERED: Final = 1 << 13
"""Texts of calls of which the parts are kept: programs open the same files again and again."""
_LONGEST: Final = 1 << 10
"""Bytes of the longest text that is kept; so what is kept is bounded."""

_Shape: TypeAlias = tuple[str, bytes, int | None, bytes, str, int | None, bool]
"""A call without line, pid and time, in the order of `Call`."""


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


def parse(lines: Iterable[bytes]) -> Iterator[Item]:
    """Yields the items of a trace in the order in which they were complete.

    Total: a line that is not understood becomes an `Unparsed`, nothing is raised or guessed. Each non-empty line is
    accounted for by exactly one item (as its `line` or its `end`). Calls still in flight when their process ends, or
    at the end of the trace, are yielded as `unfinished`.

    Args:
        lines: the trace, one line each, with or without the newline.
    """
    pending: dict[bytes, _Pending] = {}
    shapes: dict[bytes, _Shape] = {}
    head = grammar.HEAD.match
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\r\n")
        if (begun := head(line)) is None:
            if line:
                yield Unparsed(number)
            continue
        pid, ts = begun.groups()
        text = line[begun.end() :]
        shape = shapes.get(text)
        if shape is None:
            shape = _shape(text)
            if shape is None:
                yield from _line(begun, text, number, pending)
                continue
            if len(text) <= _LONGEST:
                if len(shapes) >= _REMEMBERED:
                    shapes.clear()
                shapes[text] = shape
        # A new call means that the one in flight returned unseen.
        if pending and pid in pending:
            yield _unfinished(pending.pop(pid))
        name, arguments, result, annotation, errno, outer, unfinished = shape
        yield Call(
            number, int(pid), float(ts.decode()), name, arguments, result, annotation, errno, outer, unfinished, number
        )
    for left in pending.values():
        yield _unfinished(left)


def _line(begun: re.Match[bytes], text: bytes, number: int, pending: dict[bytes, _Pending]) -> Iterator[Item]:
    """The items of a line that is no whole call: its head, what follows it, and its number."""
    pid, ts = begun.groups()
    if (match := grammar.RESUMED.match(text)) is not None:
        yield from _resumed(pid, match, number, pending)
    elif (match := grammar.UNFINISHED.match(text)) is not None:
        # A thread that executes comes back under the pid of its process.
        owner = match[3] or pid
        for thread in dict.fromkeys((pid, owner)):
            if thread in pending:
                yield _unfinished(pending.pop(thread))
        pending[owner] = _Pending(number, pid, ts, text[: match.end(2)], match[1], match[3] is not None)
    elif (match := grammar.EXIT.match(text)) is not None:
        if pid in pending:
            yield _unfinished(pending.pop(pid))
        code = 0 if match[1] is None else int(match[1])
        yield Exit(number, int(pid), _seconds(ts), code, (match[2] or b"").decode("ascii"))
    else:
        remark = _remark(int(pid), _seconds(ts), text, number)
        if isinstance(remark, Note) and remark.kind == "superseded":
            yield from _superseded(remark, pending)
        yield remark


def _superseded(note: Note, pending: dict[bytes, _Pending]) -> Iterator[Item]:
    """A thread's execve goes on under the pid of its process; the process's own call in flight never returned.

    When no other process's line came between, its own line had said so already (`<pid changed to ...>`).
    """
    thread, process = note.text.encode("ascii"), b"%d" % note.pid
    begun = pending.get(thread)
    if begun is not None and thread != process:
        del pending[thread]
        if process in pending:
            yield _unfinished(pending.pop(process))
        pending[process] = msgspec.structs.replace(begun, executed=True)


def _remark(pid: int, ts: float, text: bytes, number: int) -> Item:
    if (match := grammar.SIGNAL.match(text)) is not None:
        return Signal(number, pid, ts, match[1].decode("ascii"), match[2] or b"")
    for kind, pattern in (
        ("superseded", grammar.SUPERSEDED),
        ("abi", grammar.MODE),
        ("stopped", grammar.STOPPED),
    ):
        if (match := pattern.match(text)) is not None:
            return Note(number, pid, ts, kind, match[1].decode("ascii", "backslashreplace"))
    return Unparsed(number)


def _resumed(pid: bytes, match: re.Match[bytes], number: int, pending: dict[bytes, _Pending]) -> Iterator[Item]:
    begun = pending.get(pid)
    if begun is None or begun.name != match[1]:
        yield Unparsed(number)
        return
    del pending[pid]
    rest = match[2]
    if rest.startswith(grammar.KILLED_INSIDE):
        rest = rest.removeprefix(grammar.KILLED_INSIDE)
        text = begun.text + grammar.KILLED_INSIDE + rest
    else:
        text = begun.text + rest
    shape = _shape(text)
    if shape is None:
        yield Unparsed(begun.line)
        yield Unparsed(number)
        return
    call = Call(begun.line, int(begun.pid), _seconds(begun.ts), *shape, number)
    if begun.executed:
        # strace prints a meaningless result here; the pid changes only when the program was replaced.
        call = msgspec.structs.replace(call, pid=int(pid), result=0, errno="")
    yield call


def _shape(text: bytes) -> _Shape | None:
    """What a whole call says; None when the text is none."""
    if (usual := grammar.USUAL.match(text)) is not None:
        raw, result, annotation, errno = usual.groups()
        if errno is None:
            return "openat", raw, int(result), annotation, "", None, False
        return "openat", raw, -1, b"", sys.intern(errno.decode("ascii")), None, False
    match = grammar.CALL.match(text)
    if match is None:
        return None
    name, raw, _, result, annotation, errno, outer = match.groups()
    unfinished = raw.endswith(grammar.KILLED_INSIDE)
    return (
        sys.intern(name.decode("ascii")),
        raw.removesuffix(grammar.KILLED_INSIDE) if unfinished else raw,
        None if result is None else _number(result),
        annotation or b"",
        "" if errno is None else sys.intern(errno.decode("ascii")),
        None if outer is None else int(outer),
        unfinished,
    )


def _seconds(text: bytes) -> float:
    # Text is read in a third of the time that bytes take.
    return float(text.decode())


def _number(text: bytes) -> int:
    return int(text, 16) if text[1:2] == b"x" else int(text)


def _unfinished(left: _Pending) -> Item:
    shape = _shape(left.text + grammar.KILLED_INSIDE + b") = ?")
    return Unparsed(left.line) if shape is None else Call(left.line, int(left.pid), _seconds(left.ts), *shape, 0)
