"""Calls on files: open and its family, renames, links, removals, modes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.events import (
    FileDelete,
    FileLink,
    FileMode,
    FileOwner,
    FileRead,
    FileRename,
    FileWrite,
    MemoryFile,
    ProcessAccess,
)
from collector.processes import Written
from collector.strace import Descriptor, Group, Word
from collector.strace.values import descriptor
from collector.syscalls.descriptors import put
from collector.syscalls.paths import absolute, decoded, opened_path

if TYPE_CHECKING:
    from collector.syscalls.step import Handler, Step

_USUAL_OPENAT: Final = re.compile(rb'AT_FDCWD<(/[^<>\\]*+)>, "([^"\\]*+)", ([A-Z_|]++)(?:, 0[0-7]*+)?\Z')
"""By far the commonest call; read by one expression, it costs a third."""

_REMEMBERED: Final = 1 << 13
_SHORT: Final = 1 << 10
"""Bytes of the longest arguments that are remembered; so what is remembered is bounded."""
_ID: Final = re.compile(rb"(?:-1|[0-9]{1,10})\Z")
_MEMORY: Final = re.compile(r"/proc/([0-9]{1,10})/(?:task/[0-9]+/)?mem\Z")


class _Opening(NamedTuple):
    """What the usual openat says, whoever calls it."""

    cwd: str
    path: str
    flags: bytes


@lru_cache(_REMEMBERED)
def _usual(raw: bytes, annotation: bytes) -> _Opening | None:
    """An openat in its usual form; None when it has another."""
    match = _USUAL_OPENAT.match(raw)
    if match is None:
        return None
    cwd = decoded(match[1])
    path = absolute(decoded(match[2]), cwd)
    if annotation:
        path = opened_path(path, decoded(descriptor(0, annotation).target))
    return _Opening(cwd, path, match[3])


def _openat(step: Step) -> bool:
    call = step.call
    if len(call.raw) <= _SHORT >= len(call.annotation) and (usual := _usual(call.raw, call.annotation)) is not None:
        step.process.cwd, path, flags = usual
        step.whole = True
        if call.annotation and call.result is not None:
            put(step, call.result, path, closes=b"O_CLOEXEC" in flags)
        return _reached(step, path, flags)
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
    return _reached(step, path, flags)


def _reached(step: Step, path: str, flags: bytes) -> bool:
    """The events of an open."""
    if b"O_PATH" in flags:
        return True
    temporary = b"O_TMPFILE" in flags
    if b"O_DIRECTORY" in flags and not temporary:
        return True
    both = b"O_RDWR" in flags
    writes = both or b"O_WRONLY" in flags
    created = temporary or b"O_CREAT" in flags
    if both or not writes:
        step.emit(FileRead, path=path)
    if writes or created or b"O_TRUNC" in flags:
        step.emit(FileWrite, path=path, created=created)
        _mark(step, path)
    _reached_memory(step, path)
    return True


def _mark(step: Step, path: str) -> None:
    if step.succeeded:
        step.out.table.written.add(Written(path, step.pid, step.call.ts, step.phase))


def _reached_memory(step: Step, path: str) -> None:
    match = _MEMORY.match(path) if path.endswith("/mem") else None
    if match is None:
        return
    number = int(match[1])
    # The path holds the pid inside the pod, events the tracer's.
    target = step.out.table.inner.get(number) if step.process.nested else step.out.table.live.get(number)
    if target is not step.process:
        step.emit(ProcessAccess, call="/proc/mem", target=0 if target is None else target.pid)


def _truncate(step: Step) -> bool:
    path = step.path(0)
    if path is None:
        return step.unreadable()
    step.emit(FileWrite, path=path)
    _mark(step, path)
    return True


def _removal(place: int, base: int | None) -> Handler:
    def handle(step: Step) -> bool:
        path = step.path(place, base=base)
        if path is None:
            return step.unreadable()
        step.emit(FileDelete, path=path)
        if step.succeeded:
            step.out.table.written.remove(path)
        return True

    return handle


def _move(old_place: int, old_base: int | None, new_place: int, new_base: int | None) -> Handler:
    def handle(step: Step) -> bool:
        old, new = step.path(old_place, base=old_base), step.path(new_place, base=new_base)
        if old is None or new is None:
            return step.unreadable()
        step.emit(FileRename, path=new, old=old)
        exchanged = b"RENAME_EXCHANGE" in step.word(4)
        if exchanged:
            step.emit(FileRename, path=old, old=new)
        if step.succeeded:
            written = step.out.table.written
            if exchanged:
                written.exchange(old, new)
            else:
                written.rename(old, new)
        return True

    return handle


def _hard_link(old_place: int, old_base: int | None, new_place: int, new_base: int | None) -> Handler:
    def handle(step: Step) -> bool:
        old, new = step.path(old_place, base=old_base), step.path(new_place, base=new_base)
        if old is None or new is None:
            return step.unreadable()
        target = step.descriptor_path(old)
        step.emit(FileLink, path=new, target=target)
        if step.succeeded:
            step.out.table.written.link(target, new, symbolic=False)
        return True

    return handle


def _symbolic_link(place: int, base: int | None) -> Handler:
    def handle(step: Step) -> bool:
        target, path = step.text(0), step.path(place, base=base)
        if target is None or path is None:
            return step.unreadable()
        step.emit(FileLink, path=path, target=target, symbolic=True)
        if step.succeeded:
            directory = path.rpartition("/")[0] or "/"
            step.out.table.written.link(absolute(target, directory), path, symbolic=True)
        return True

    return handle


def _mode(place: int, base: int | None, mode_place: int) -> Handler:
    def handle(step: Step) -> bool:
        path, mode = step.path(place, base=base), step.word(mode_place)
        if path is None or not mode:
            return step.unreadable()
        step.emit(FileMode, path=path, mode=decoded(mode))
        return True

    return handle


def _fchmod(step: Step) -> bool:
    file, mode = step.value(0), step.word(1)
    if not isinstance(file, Descriptor) or not mode:
        return step.unreadable()
    step.emit(FileMode, path=decoded(file.target), mode=decoded(mode))
    return True


def _owner(place: int, base: int | None, owner_place: int) -> Handler:
    def handle(step: Step) -> bool:
        path = step.path(place, base=base)
        return _owned(step, path, owner_place)

    return handle


def _fchown(step: Step) -> bool:
    file = step.value(0)
    return _owned(step, decoded(file.target) if isinstance(file, Descriptor) else None, 1)


def _owned(step: Step, path: str | None, place: int) -> bool:
    owner, group = (_ID.match(step.word(at)) for at in (place, place + 1))
    if path is None or owner is None or group is None:
        return step.unreadable()
    step.emit(FileOwner, path=path, owner=int(owner[0]), group=int(group[0]))
    return True


def _memfd(step: Step) -> bool:
    name = step.text(0)
    if name is None:
        return step.unreadable()
    step.emit(MemoryFile, name=name)
    result = step.call.descriptor()
    if step.succeeded:
        step.process.memory_files = True
    if result is not None:
        put(step, result.number, decoded(result.target), closes=b"MFD_CLOEXEC" in step.word(1))
    return True


HANDLERS: Final[dict[str, Handler]] = {
    "open": _open,
    "openat": _openat,
    "openat2": _openat2,
    "creat": _creat,
    "truncate": _truncate,
    "unlink": _removal(0, None),
    "rmdir": _removal(0, None),
    "unlinkat": _removal(1, 0),
    "rename": _move(0, None, 1, None),
    "renameat": _move(1, 0, 3, 2),
    "renameat2": _move(1, 0, 3, 2),
    "link": _hard_link(0, None, 1, None),
    "linkat": _hard_link(1, 0, 3, 2),
    "symlink": _symbolic_link(1, None),
    "symlinkat": _symbolic_link(2, 1),
    "chmod": _mode(0, None, 1),
    "fchmod": _fchmod,
    "fchmodat": _mode(1, 0, 2),
    "chown": _owner(0, None, 1),
    "lchown": _owner(0, None, 1),
    "fchown": _fchown,
    "fchownat": _owner(1, 0, 2),
    "memfd_create": _memfd,
}
