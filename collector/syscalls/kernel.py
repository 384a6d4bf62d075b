"""Privileged and evasive calls, and what one process does to another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collector.events import KernelCall, MemoryExec, ProcessAccess
from collector.strace import Descriptor
from collector.syscalls.paths import absolute, decoded
from collector.syscalls.remarks import HARMLESS_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.live_processes import LiveProcess
    from collector.syscalls.step import Handler, Step

_OUTER: Final = re.compile(rb"(-?[0-9]{1,10})(?: /\* (-?[0-9]{1,10}) in strace's PID NS \*/)?\Z")
_PIDFD: Final = re.compile(rb"pid:([0-9]{1,10})\Z")
_QUERY: Final = b"0xffffffff"
_EVERYONE: Final = -1
_SIZE: Final = re.compile(rb"[0-9]{1,18}\Z")
_MOST_MEMORY: Final = 8
"""Of one process: a just-in-time compiler's must not fill the evidence."""


def _noted(step: Step) -> bool:
    step.emit(KernelCall, call=step.call.name, args=decoded(step.call.raw))
    return True


def _personality(step: Step) -> bool:
    return True if step.word(0) == _QUERY else _noted(step)


def _mknod(place: int) -> Handler:
    def handle(step: Step) -> bool:
        mode = step.word(place)
        return _noted(step) if b"S_IFCHR" in mode or b"S_IFBLK" in mode else True

    return handle


def _chdir(step: Step) -> bool:
    path = step.path(0)
    if path is None:
        return step.unreadable()
    if step.succeeded:
        step.process.cwd = absolute(path, step.process.cwd)
    return True


def _fchdir(step: Step) -> bool:
    directory = step.value(0)
    if step.succeeded and isinstance(directory, Descriptor) and directory.target.startswith(b"/"):
        step.process.cwd = decoded(directory.target)
    return True


def _pid(step: Step, place: int) -> int | None:
    """A pid argument as the tracer sees it, negative for a group; 0 when unknown; None when it is no pid."""
    match = _OUTER.match(step.word(place))
    if match is None:
        return None
    number = int(match[1])
    if match[2] is not None:
        return -abs(int(match[2])) if number < 0 else int(match[2])
    if number == _EVERYONE or not step.process.nested:
        return number
    inner = step.out.table.inner.get(abs(number))
    if inner is None:
        return 0
    return inner.pid if number > 0 else -inner.pid


def _own(step: Step, pid: int) -> bool:
    return step.out.table.live.get(pid) is step.process


def _accessed(place: int) -> Handler:
    def handle(step: Step) -> bool:
        pid = _pid(step, place)
        if pid is None:
            return step.unreadable()
        if not _own(step, pid):
            step.emit(ProcessAccess, call=step.call.name, target=max(pid, 0))
        elif not step.succeeded:
            _noted(step)
        return True

    return handle


def _protected(step: Step) -> bool:
    flags = step.word(2)
    process = step.process
    if b"PROT_EXEC" in flags and process.memory_executed < _MOST_MEMORY:
        process.memory_executed += 1
        size = step.word(1)
        step.emit(
            MemoryExec,
            call=step.call.name,
            size=int(size) if _SIZE.match(size) else 0,
            writable=b"PROT_WRITE" in flags,
        )
    step.idle = b"PROT_EXEC" not in flags
    return True


def _ptrace(step: Step) -> bool:
    if step.word(0) == b"PTRACE_TRACEME":
        return _noted(step)
    pid = _pid(step, 1)
    step.emit(ProcessAccess, call="ptrace", target=max(pid or 0, 0))
    return True


def _pidfd(step: Step) -> int:
    """The process behind a descriptor that is the first argument, as the tracer sees it; 0 when unknown."""
    file = step.value(0)
    match = _PIDFD.match(file.target) if isinstance(file, Descriptor) else None
    return 0 if match is None else int(match[1])


def _pidfd_getfd(step: Step) -> bool:
    pid = _pidfd(step)
    if pid == 0 or not _own(step, pid):
        step.emit(ProcessAccess, call="pidfd_getfd", target=pid)
    elif not step.succeeded:
        _noted(step)
    return True


def _signals(place: int, process: Callable[[Step], int | None]) -> Handler:
    def handle(step: Step) -> bool:
        if step.word(0) == b"0" or step.word(place) in HARMLESS_SIGNALS or step.errno in {"ESRCH", "EBADF"}:
            return True  # The process's own group, a question, or nobody.
        pid = process(step)
        if pid is None:
            return step.unreadable()
        # A process looks after its own children.
        if not _looks_after(step, pid):
            step.emit(ProcessAccess, call=step.call.name, target=pid, signal=decoded(step.word(place)))
        return True

    return handle


def _looks_after(step: Step, pid: int) -> bool:
    if pid == _EVERYONE:
        return False
    # A process group bears the number of the process that leads it.
    target: LiveProcess | None = step.out.table.latest.get(abs(pid))
    return target is not None and target.descends_from(step.process)


HANDLERS: Final[dict[str, Handler]] = {
    **dict.fromkeys(
        (
            *("open_by_handle_at", "bpf", "init_module", "finit_module", "delete_module", "create_module"),
            *("query_module", "get_kernel_syms", "kexec_load", "kexec_file_load"),
            *("io_uring_setup", "io_uring_enter", "io_uring_register"),
            *("userfaultfd", "perf_event_open", "lookup_dcookie", "nfsservctl", "_sysctl", "uselib", "modify_ldt"),
            *("add_key", "request_key", "keyctl", "kcmp"),
            *("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime"),
            *("iopl", "ioperm", "syslog", "vhangup"),
        ),
        _noted,
    ),
    "personality": _personality,
    "mknod": _mknod(1),
    "mknodat": _mknod(2),
    "chdir": _chdir,
    "fchdir": _fchdir,
    "ptrace": _ptrace,
    "mprotect": _protected,
    "pkey_mprotect": _protected,
    "process_vm_readv": _accessed(0),
    "process_vm_writev": _accessed(0),
    "pidfd_getfd": _pidfd_getfd,
    **dict.fromkeys(("kill", "tkill", "rt_sigqueueinfo"), _signals(1, lambda step: _pid(step, 0))),
    **dict.fromkeys(("tgkill", "rt_tgsigqueueinfo"), _signals(2, lambda step: _pid(step, 0))),
    "pidfd_send_signal": _signals(1, _pidfd),
}
IGNORED: Final = frozenset({"setsid"})
"""Traced, but no event."""


def foreign(step: Step) -> bool:
    """A call that is not on the list: by number, or one that strace was not asked for."""
    return _noted(step)
