"""Opened files: open and its family."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from collector.events import FileRead, FileWrite, ProcessAccess, Source
from collector.strace import Group, Word
from collector.strace.values import descriptor
from collector.syscalls.descriptors import put
from collector.syscalls.paths import absolute, decoded, opened_path
from collector.syscalls.step import Step

if TYPE_CHECKING:
    from collector.live_processes import LiveProcess
    from collector.strace import Call, Opening, Said
    from collector.syscalls.step import Handler, Output

_MEMORY: Final = re.compile(r"/proc/([0-9]{1,10})/(?:task/[0-9]+/)?mem\Z")
_directory: Final = lru_cache(1 << 8)(decoded)


class _Opened(msgspec.Struct, frozen=True, gc=False):
    """What an openat in its usual form leads to, whoever makes it and when."""

    cwd: str
    path: str
    number: int | None
    """The descriptor that was given out."""
    closes: bool
    """An exec closes it."""
    read: FileRead | None
    """An event without moment, phase, process and source."""
    write: FileWrite | None
    """The same; of one call it comes after the other."""
    memory: bool
    """It may be the memory of a process."""


def opened(call: Call, opening: Opening, process: LiveProcess, out: Output) -> None:
    """Reads an openat in its usual form: by far the commonest call.

    Args:
        call: The call, by the package.
        opening: Its parts.
        process: Who made it.
        out: Where the events go.
    """
    said = call.said
    known = said.meaning
    if type(known) is not _Opened:
        known = said.meaning = _usual(said, opening)
    process.cwd = known.cwd
    number = known.number
    if number is not None:
        process.descriptors[number] = known.path
        if known.closes:
            process.closing.add(number)
        else:
            process.closing.discard(number)
    read, write = known.read, known.write
    if read is None and write is None:
        return
    ts, pid = call.ts, process.pid
    phase = "linger" if ts >= out.linger else out.phase
    source = Source(out.source, call.line)
    if read is not None:
        out.events.append(replace(read, ts=ts, phase=phase, pid=pid, source=source))
    if write is not None:
        out.events.append(replace(write, ts=ts, phase=phase, pid=pid, source=source))
        if not write.errno:
            out.table.written.add(known.path, pid, ts, phase)
    if known.memory:
        _reached_memory(Step(call, process, out), known.path)


def _usual(said: Said, opening: Opening) -> _Opened:
    cwd = _directory(opening.cwd)
    path = absolute(decoded(opening.path), cwd)
    if said.annotation and said.annotation[1:-1] != opening.path:
        path = opened_path(path, decoded(descriptor(0, said.annotation).target))
    number = said.result if said.annotation else None
    read, write = _reached(path, opening.flags, said.errno)
    return _Opened(cwd, path, number, b"O_CLOEXEC" in opening.flags, read, write, path.endswith("/mem"))


def _openat(step: Step) -> bool:
    return _opened(step, step.path(1, base=0), step.word(2))


def _open(step: Step) -> bool:
    return _opened(step, step.path(0), step.word(1))


def _openat2(step: Step) -> bool:
    how = step.value(2)
    flags = how.get("flags") if isinstance(how, Group) else None
    return _opened(step, step.path(1, base=0), flags.text if isinstance(flags, Word) else b"")


def _creat(step: Step) -> bool:
    return _opened(step, step.path(0), b"O_WRONLY|O_CREAT|O_TRUNC")


def _opened(step: Step, asked: str | None, flags: bytes) -> bool:
    if asked is None or not flags:
        return step.unreadable()
    path = asked
    result = step.call.descriptor()
    if result is not None:
        path = opened_path(asked, decoded(result.target))
        put(step, result.number, path, closes=b"O_CLOEXEC" in flags)
    events = [event for event in _reached(path, flags, step.errno) if event is not None]
    for event in events:
        step.out.events.append(replace(event, ts=step.call.ts, phase=step.phase, pid=step.pid, source=step.source))
        if isinstance(event, FileWrite):
            mark(step, path)
    if events:
        _reached_memory(step, path)
    return True


def _reached(path: str, flags: bytes, errno: str) -> tuple[FileRead | None, FileWrite | None]:
    """The events of an open, as in `_Opened`."""
    asked = _asked(flags)
    return (
        FileRead(phase="", path=path, errno=errno) if asked.reads else None,
        FileWrite(phase="", path=path, errno=errno, created=asked.creates) if asked.writes else None,
    )


class _Asked(NamedTuple):
    """What flags of an open ask for."""

    reads: bool
    writes: bool
    """It can be written to, or is made or emptied."""
    creates: bool


@lru_cache(1 << 8)
def _asked(flags: bytes) -> _Asked:
    temporary = b"O_TMPFILE" in flags
    if b"O_PATH" in flags or (b"O_DIRECTORY" in flags and not temporary):
        return _Asked(reads=False, writes=False, creates=False)
    both = b"O_RDWR" in flags
    writes = both or b"O_WRONLY" in flags
    creates = temporary or b"O_CREAT" in flags
    return _Asked(reads=both or not writes, writes=writes or creates or b"O_TRUNC" in flags, creates=creates)


def mark(step: Step, path: str) -> None:
    """Keep in mind who wrote a file."""
    if step.succeeded:
        step.out.table.written.add(path, step.pid, step.call.ts, step.phase)


def _reached_memory(step: Step, path: str) -> None:
    match = _MEMORY.match(path) if path.endswith("/mem") else None
    if match is None:
        return
    number = int(match[1])
    # The path holds the pid inside the pod, events the tracer's.
    target = step.out.table.inner.get(number) if step.process.nested else step.out.table.live.get(number)
    if target is not step.process:
        step.emit(ProcessAccess, call="/proc/mem", target=0 if target is None else target.pid)


HANDLERS: Final[dict[str, Handler]] = {"open": _open, "openat": _openat, "openat2": _openat2, "creat": _creat}
