"""Joins the lines of a trace into items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.strace import grammar
from collector.strace.items import Call, Exit, Item, Note, Signal, Unparsed

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator


class _Pending(msgspec.Struct, frozen=True):
    """A call that has been interrupted by another process's line."""

    line: int
    text: bytes
    """The line up to the interruption."""
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
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\r\n")
        match = grammar.CALL.match(line)
        if match is not None and not pending:
            yield _call(match, number, number)
        elif line:
            yield from _line(line, match, number, pending)
    for left in pending.values():
        yield _unfinished(left)


def _line(line: bytes, match: re.Match[bytes] | None, number: int, pending: dict[bytes, _Pending]) -> Iterator[Item]:
    if match is not None:
        # A new call means that the one in flight returned unseen.
        if match[1] in pending:
            yield _unfinished(pending.pop(match[1]))
        yield _call(match, number, number)
        return
    if (match := grammar.RESUMED.match(line)) is not None:
        yield from _resumed(match, number, pending)
    elif (match := grammar.UNFINISHED.match(line)) is not None:
        # A thread that executes comes back under the pid of its process.
        owner = match[5] or match[1]
        for pid in dict.fromkeys((match[1], owner)):
            if pid in pending:
                yield _unfinished(pending.pop(pid))
        pending[owner] = _Pending(number, line[: match.end(4)], match[3], match[5] is not None)
    elif (match := grammar.EXIT.match(line)) is not None:
        if match[1] in pending:
            yield _unfinished(pending.pop(match[1]))
        code = 0 if match[3] is None else int(match[3])
        yield Exit(number, int(match[1]), float(match[2]), code, (match[4] or b"").decode("ascii"))
    else:
        yield _remark(line, number)


def _remark(line: bytes, number: int) -> Item:
    if (match := grammar.SIGNAL.match(line)) is not None:
        return Signal(number, int(match[1]), float(match[2]), match[3].decode("ascii"), match[4] or b"")
    for kind, pattern in (
        ("superseded", grammar.SUPERSEDED),
        ("abi", grammar.MODE),
        ("stopped", grammar.STOPPED),
    ):
        if (match := pattern.match(line)) is not None:
            text = match[3].decode("ascii", "backslashreplace")
            return Note(number, int(match[1]), float(match[2]), kind, text)
    return Unparsed(number)


def _resumed(match: re.Match[bytes], number: int, pending: dict[bytes, _Pending]) -> Iterator[Item]:
    begun = pending.get(match[1])
    if begun is None or begun.name != match[3]:
        yield Unparsed(number)
        return
    del pending[match[1]]
    rest = match[4]
    if rest.startswith(grammar.KILLED_INSIDE):
        rest = rest.removeprefix(grammar.KILLED_INSIDE)
        text = begun.text + grammar.KILLED_INSIDE + rest
    else:
        text = begun.text + rest
    whole = grammar.CALL.match(text)
    if whole is None:
        yield Unparsed(begun.line)
        yield Unparsed(number)
        return
    call = _call(whole, begun.line, number)
    if begun.executed:
        # strace prints a meaningless result here; the pid changes only when the program was replaced.
        call = msgspec.structs.replace(call, pid=int(match[1]), result=0, errno="")
    yield call


def _call(match: re.Match[bytes], line: int, end: int) -> Call:
    pid, ts, name, raw, _, result, annotation, errno, outer = match.groups()
    unfinished = raw.endswith(grammar.KILLED_INSIDE)
    return Call(
        line,
        int(pid),
        float(ts),
        name.decode("ascii"),
        raw.removesuffix(grammar.KILLED_INSIDE) if unfinished else raw,
        None if result is None else _number(result),
        annotation or b"",
        "" if errno is None else errno.decode("ascii"),
        None if outer is None else int(outer),
        unfinished,
        end,
    )


def _number(text: bytes) -> int:
    return int(text, 16) if text[1:2] == b"x" else int(text)


def _unfinished(left: _Pending) -> Item:
    whole = grammar.CALL.match(left.text + grammar.KILLED_INSIDE + b") = ?")
    return Unparsed(left.line) if whole is None else _call(whole, left.line, 0)
