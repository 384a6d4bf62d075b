"""Opened files: open and its family."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from collector.events import FileRead, FileWrite, ProcessAccess
from collector.strace import Group, Word
from collector.syscalls.descriptors import put
from collector.syscalls.paths import decoded, opened_path

if TYPE_CHECKING:
    from collector.syscalls.step import Handler, Step

_MEMORY: Final = re.compile(r"/proc/([0-9]{1,10})/(?:task/[0-9]+/)?mem\Z")


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
    """The events of an open, without moment, phase, process and source."""
    asked = asked_by(flags)
    return (
        FileRead(phase="", path=path, errno=errno) if asked.reads else None,
        FileWrite(phase="", path=path, errno=errno, created=asked.creates) if asked.writes else None,
    )


class Asked(NamedTuple):
    """What flags of an open ask for."""

    reads: bool
    writes: bool
    """It can be written to, or is made or emptied."""
    creates: bool


@lru_cache(1 << 8)
def asked_by(flags: bytes) -> Asked:
    """What flags ask for, as strace prints them."""
    temporary = b"O_TMPFILE" in flags
    if b"O_PATH" in flags or (b"O_DIRECTORY" in flags and not temporary):
        return Asked(reads=False, writes=False, creates=False)
    both = b"O_RDWR" in flags
    writes = both or b"O_WRONLY" in flags
    creates = temporary or b"O_CREAT" in flags
    return Asked(reads=both or not writes, writes=writes or creates or b"O_TRUNC" in flags, creates=creates)


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
