"""Joins the lines of a trace into items."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec

from collector.strace import grammar
from collector.strace.items import Call, Exit, Item, Note, Opening, Said, Signal, Unparsed

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator


_REMEMBERED: Final = 1 << 13
"""Texts of calls of which the parts are kept: programs open the same files again and again."""
_LONGEST: Final = 1 << 10
"""Bytes of the longest text that is kept; so what is kept is bounded."""
_INTERRUPTED: Final = b" ...>"
"""Ends a line whose call is resumed on another."""


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
    pending: dict[bytes, _Pending] = {}
    known = _Known()
    head = grammar.HEAD.match
    for number, line in enumerate(lines, 1):
        if (begun := head(line)) is None:
            if line.rstrip(b"\r\n"):
                yield Unparsed(number)
            continue
        pid, ts = begun.groups()
        text = line[begun.end() :]
        said = known.get(text)
        if said is None:
            said = known.learn(text)
            if said is None:
                yield from _line(begun, text.rstrip(b"\r\n"), number, pending, known)
                continue
        # A new call means that the one in flight returned unseen.
        if pending and pid in pending:
            yield _unfinished(pending.pop(pid))
        yield Call(number, int(pid), float(ts), said, number)
    for left in pending.values():
        yield _unfinished(left)


def _line(
    begun: re.Match[bytes], text: bytes, number: int, pending: dict[bytes, _Pending], known: _Known
) -> Iterator[Item]:
    """The items of a line that is no whole call: its head, what follows it, and its number."""
    pid, ts = begun.groups()
    if (match := grammar.RESUMED.match(text)) is not None:
        yield from _resumed(pid, match, number, pending, known)
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
        yield Exit(number, int(pid), float(ts), code, (match[2] or b"").decode("ascii"))
    else:
        remark = _remark(int(pid), float(ts), text, number)
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


def _resumed(
    pid: bytes, match: re.Match[bytes], number: int, pending: dict[bytes, _Pending], known: _Known
) -> Iterator[Item]:
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
    said = known.get(text) or known.learn(text)
    if said is None:
        yield Unparsed(begun.line)
        yield Unparsed(number)
        return
    if begun.executed:
        # strace prints a meaningless result here; the pid changes only when the program was replaced.
        said = msgspec.structs.replace(said, result=0, errno="")
    yield Call(begun.line, int(pid if begun.executed else begun.pid), float(begun.ts), said, number)


def _said(text: bytes) -> Said | None:
    """What a whole call says; None when the text is none."""
    if (usual := grammar.USUAL.match(text)) is not None:
        raw, cwd, path, flags, result, annotation, errno = usual.groups()
        opening = Opening(cwd, path, flags) if len(text) <= _LONGEST else None
        if errno is None:
            return Said("openat", raw, int(result), annotation, opening=opening)
        return Said("openat", raw, -1, errno=sys.intern(errno.decode("ascii")), opening=opening)
    if text.endswith(_INTERRUPTED) and b") =" not in text:
        return None  # Found out in vain by `CALL`, as it is of one line in ten.
    match = grammar.CALL.match(text)
    if match is None:
        return None
    name, raw, _, result, annotation, errno, outer = match.groups()
    unfinished = raw.endswith(grammar.KILLED_INSIDE)
    return Said(
        sys.intern(name.decode("ascii")),
        raw.removesuffix(grammar.KILLED_INSIDE) if unfinished else raw,
        None if result is None else _number(result),
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
