"""Recognises the image's own compilers at their own work."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from collector.events import (
    AnyEvent,
    FileDelete,
    FileLink,
    FileMode,
    FileRead,
    FileRename,
    FileWrite,
    ProcessExec,
    ProcessExit,
    ProcessStart,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGE: Final = "/usr/"
"""The read-only part of the pod that holds programs."""
_NAME: Final = re.compile(
    r"(?:[a-z0-9_]+-linux-gnu-)?"
    r"(?:gcc|g\+\+|cc|c\+\+|cpp|c89|c99|gfortran|as|ld|ld\.bfd|ld\.gold|ar|nm|ranlib|strip|objcopy|objdump"
    r"|gcc-ar|gcc-nm|gcc-ranlib)(?:-[0-9]+)?"
    r"|cc1|cc1plus|cc1obj|f951|lto1|lto-wrapper|collect2"
)
_LOADS: Final = ("-fplugin=", "-specs=", "--specs=", "-plugin=", "--plugin=")
_LOADS_NEXT: Final = frozenset({"-plugin", "--plugin", "-specs", "--specs"})
_SYSTEM: Final = ("/usr/", "/lib/", "/lib64/", "/etc/")
_WORKPLACES: Final = (*_SYSTEM, "/tmp/", "/var/tmp/", "/dev/")  # noqa: S108 - in the pod
_MACHINE: Final = frozenset({"/proc/meminfo", "/proc/cpuinfo", "/proc/self/maps", "/proc/self/exe"})


def is_compiler(image: str, argv: Sequence[str]) -> bool:
    """Whether a program is a compiler, assembler, linker or archiver of the image and runs no code given to it.

    Args:
        image: Absolute path of the program.
        argv: Its arguments.

    Returns:
        False also for a compiler that is told to load a plugin, a specs file or a wrapper from outside the image.
    """
    if not image.startswith(_IMAGE) or posixpath.normpath(image) != image:
        return False
    if _NAME.fullmatch(posixpath.basename(image)) is None:
        return False
    for option, following in zip(argv[1:], [*argv[2:], ""], strict=False):
        if option == "-wrapper" or option.startswith("@"):
            return False
        loads = [following] if option in _LOADS_NEXT else []
        loads += [option.removeprefix(prefix) for prefix in _LOADS if option.startswith(prefix)]
        loads += [option[2:]] if option.startswith(("-B/", "-B.")) else []
        if any(not path.startswith(_IMAGE) or ".." in path for path in loads):
            return False
    return True


def is_compiling(event: AnyEvent, home: str) -> bool:
    """Whether an event of a compiler is what compilers do: files where building takes place, and processes.

    Source text can make a compiler read any file (`#include`, `.incbin`), which is the package's doing.

    Args:
        event: Any event of a compiler's process.
        home: The tracee's home directory.

    Returns:
        False for everything else, e.g. the network.
    """
    match event:
        case ProcessStart() | ProcessExec() | ProcessExit():
            return True
        case FileRead() | FileWrite() | FileDelete() | FileRename() | FileLink() | FileMode():
            places = (*_WORKPLACES, f"{home}/.venv/", f"{home}/.cache/")
            return event.path in _MACHINE or (event.path.startswith(places) and "/../" not in event.path)
        case _:
            return False


def is_preload(event: AnyEvent) -> bool:
    """Whether a program that has not yet read the loader's cache was made to load a library (LD_PRELOAD).

    Args:
        event: An event of a process before it read `/etc/ld.so.cache`.

    Returns:
        True for the opening of a shared object that is not the image's.
    """
    return (
        isinstance(event, FileRead)
        and not event.errno
        and ".so" in posixpath.basename(event.path)
        and not event.path.startswith(_SYSTEM)
    )
