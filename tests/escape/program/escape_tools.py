"""Imported by every attempt, inside the pod: runs acts, each in a child, and says what came of them."""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from escape_targets import TARGETS  # type: ignore[import-not-found] # made for each run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    Act: TypeAlias = Callable[[], object]

__all__ = [
    "TARGETS",
    "attempt",
    "checked",
    "ctypes",
    "each",
    "errno",
    "json",
    "libc",
    "machine_code",
    "os",
    "reach",
    "signal",
    "socket",
    "struct",
    "subprocess",
    "sys",
    "syscall",
    "time",
    "watcher",
]  # fmt: skip

PATIENCE = 12.0
SPEAKS = 1000
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """Raise the kernel's error as a call of the standard library does."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number: int, *arguments: object) -> int:
    """A system call by number; integers are passed as such, bytes and buffers by address."""
    ctypes.set_errno(0)
    words = (ctypes.c_long(word) if isinstance(word, int) else word for word in arguments)
    return checked(libc.syscall(ctypes.c_long(number), *words))


def machine_code(code: bytes) -> int:
    """Run a few bytes that end in `ret`, and give what they leave in eax."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    found = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    if found < 0:
        raise OSError(-found, os.strerror(-found))
    return int(found)


def reach(family: int, kind: int, address: tuple[Any, ...] | str) -> str:
    """Dial and send. What answers, if anything, is the gateway; or the host, which listens."""
    with socket.socket(family, kind) as dialled:
        dialled.settimeout(3)
        dialled.connect(address)
        dialled.send(sys._getframe(1).f_globals["__name__"].encode())
    return "sent"


def watcher() -> int:
    """The process that traces this one; where it is not in sight, one of the host's that was made for this."""
    with open("/proc/self/status") as status:
        tracer = next(int(line.split()[1]) for line in status if line.startswith("TracerPid:"))
    if tracer:
        return tracer
    if os.path.exists(f"/proc/{TARGETS['victim']}"):
        raise OSError(errno.EEXIST, "the number means another process here")
    return int(TARGETS["victim"])


def each(act: Callable[[Any], object], values: Iterable[object]) -> list[Act]:
    """One act for each value."""
    return [functools.partial(act, value) for value in values]


def attempt(*acts: Act) -> None:
    """Run the acts; say on one line of standard output what each came to."""
    name = sys._getframe(1).f_globals["__name__"]
    # What this process and its children do from now on is this attempt's: the marker tells which process it is.
    open(f"/tmp/{name}.begins", "w").close()
    print("ESCAPE", json.dumps([name, [_alone(act) for act in acts]]), flush=True)


def _alone(act: Act) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        # High, and unlike anything that the driver could have left open.
        os.dup2(writer, SPEAKS, inheritable=False)
        os.close(writer)
        try:
            said = f"done {act()}"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, f"error {error}")
        except BaseException as error:  # noqa: BLE001 - whatever it was, the table is told
            said = f"broken {error!r}"
        os.write(SPEAKS, said.encode("utf-8", "replace")[:500])
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], PATIENCE)
    said = os.read(reader, 500).decode("utf-8", "replace") if ready else "hung"
    os.close(reader)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return said or signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said
