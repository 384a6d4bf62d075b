"""What a trace says between calls: signals, ends of threads, changes of the interface to the kernel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collector.events import KernelCall, ProcessExit, ProcessSignal, Source
from collector.syscalls.paths import decoded

if TYPE_CHECKING:
    from collector.live_processes import LiveProcess
    from collector.strace import Exit, Note, Signal
    from collector.syscalls.step import Output

HARMLESS_SIGNALS: Final = frozenset({b"0", b"SIGCHLD", b"SIGCONT", b"SIGWINCH", b"SIGURG"})
_MOST_SIGNALS: Final = 8
"""Of one kind, of one process: a timer's must not fill the evidence."""
_SENDER: Final = re.compile(rb"[{ ]si_pid=(-?[0-9]{1,10})(?: /\* ([0-9]{1,10}) in strace's PID NS \*/)?[,}]")
_CODE: Final = re.compile(rb"[{ ]si_code=([A-Z_]{1,40})[,}]")
_REFUSED_CALL: Final = re.compile(rb"si_syscall=(?:__NR_)?([0-9A-Za-z_]+)")


def delivered(item: Signal, process: LiveProcess, out: Output) -> None:
    """A signal that reached a process of the package."""
    if item.name == "SIGSYS" and b"=SYS_SECCOMP" in item.raw:
        # The pod's filter refused a call, perhaps one that is not traced.
        refused = _REFUSED_CALL.search(item.raw)
        _noted(item, process, out, decoded(refused[1]) if refused else "seccomp", decoded(item.raw), "SIGSYS")
    else:
        _delivered(item, process, out)


def is_native(item: Note) -> bool:
    """Whether a thread came back to x86_64's own interface."""
    return "64 bit" in item.text


def switched(item: Note, process: LiveProcess, out: Output) -> None:
    """A thread of the package's changed to another interface, or back."""
    _noted(item, process, out, "abi", item.text)


def ended(item: Exit, out: Output) -> None:
    """A thread ended, and with the last one its process."""
    process = out.table.end(item.pid, item.ts, item.code, item.signal)
    if process is not None and process.ours:
        out.events.append(
            ProcessExit(
                ts=item.ts,
                phase=out.phase_at(item.ts),
                pid=process.pid,
                source=Source(out.source, item.line),
                code=item.code,
                signal=item.signal,
            )
        )


def _noted(  # noqa: PLR0913, PLR0917 - an event has these parts
    item: Note | Signal, process: LiveProcess, out: Output, call: str, text: str, errno: str = ""
) -> None:
    out.events.append(
        KernelCall(
            ts=item.ts,
            phase=out.phase_at(item.ts),
            pid=process.pid,
            source=Source(out.source, item.line),
            errno=errno,
            call=call,
            args=text,
        )
    )


def _delivered(item: Signal, process: LiveProcess, out: Output) -> None:
    signals = process.noted.signals
    told = signals.get(item.name, 0)
    if told == _MOST_SIGNALS or item.name.encode() in HARMLESS_SIGNALS:
        return
    signals[item.name] = told + 1
    code = _CODE.search(item.raw)
    out.events.append(
        ProcessSignal(
            ts=item.ts,
            phase=out.phase_at(item.ts),
            pid=process.pid,
            source=Source(out.source, item.line),
            signal=item.name,
            sender=_sender(item.raw, process, out),
            code="" if code is None else decoded(code[1]),
        )
    )


def _sender(raw: bytes, process: LiveProcess, out: Output) -> int:
    match = _SENDER.search(raw)
    if match is None:
        return 0
    if match[2] is not None or not process.nested:
        return max(int(match[2] or match[1]), 0)
    sender = out.table.inner.get(int(match[1]))
    return 0 if sender is None else sender.pid
