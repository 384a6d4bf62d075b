"""Calls on files but the opening of them: renames, links, removals, modes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collector.events import (
    FileDelete,
    FileLink,
    FileMode,
    FileOwner,
    FileRename,
    FileWrite,
    MemoryFile,
)
from collector.strace import Descriptor
from collector.syscalls.descriptors import put
from collector.syscalls.opens import mark
from collector.syscalls.paths import absolute, decoded

if TYPE_CHECKING:
    from collector.syscalls.step import Handler, Step

_ID: Final = re.compile(rb"(?:-1|[0-9]{1,10})\Z")


def _truncate(step: Step) -> bool:
    path = step.path(0)
    if path is None:
        return step.unreadable()
    step.emit(FileWrite, path=path)
    mark(step, path)
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
