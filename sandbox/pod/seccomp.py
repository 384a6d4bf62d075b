"""The pod's own system call filter, which bubblewrap loads right before it executes the phase's command.

Namespaces do not hold every family of sockets: a VSOCK reaches the hypervisor from any of them. So the package gets
those that the pod answers, and no way around the check. Refusals keep programs that only probe alive.
"""

from __future__ import annotations

import errno
import socket
import struct

_LOAD, _EQUAL, _AND_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _TRAP, _ERRNO = 0x7FFF0000, 0x00030000, 0x00050000
_X86_64, _I386 = 0xC000003E, 0x40000003
_SOCKET, _SOCKETPAIR, _SOCKET_32, _SOCKETPAIR_32, _SOCKETCALL = 41, 53, 359, 360, 102
_X32 = 0x40000000
_CLONE = 56
_CLONE_UNTRACED = 0x00800000
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)


def program() -> bytes:
    """The filter as classic BPF (`struct sock_filter` one after the other).

    Sockets of other families are refused as unknown to the kernel. The calls that would hide their arguments from this
    filter (i386's `socketcall`, the x32 interface) raise SIGSYS, which the tracer sees.
    """
    lines: list[tuple[int, str, str, int] | str] = [
        (_LOAD, "", "", _ARCHITECTURE),
        (_EQUAL, "native", "", _X86_64),
        (_EQUAL, "", "trap", _I386),
        (_LOAD, "", "", _NUMBER),
        (_EQUAL, "trap", "", _SOCKETCALL),
        (_EQUAL, "family", "", _SOCKET_32),
        (_EQUAL, "family", "allow", _SOCKETPAIR_32),
        "native",
        (_LOAD, "", "", _NUMBER),
        (_AND_SET, "trap", "", _X32),
        (_EQUAL, "clone", "", _CLONE),
        (_EQUAL, "family", "", _SOCKET),
        (_EQUAL, "family", "allow", _SOCKETPAIR),
        "clone",
        (_LOAD, "", "", _FIRST_ARGUMENT),
        (_AND_SET, "trap", "allow", _CLONE_UNTRACED),
        "family",
        (_LOAD, "", "", _FIRST_ARGUMENT),
        *((_EQUAL, "allow", "", int(family)) for family in _FAMILIES),
        (_RETURN, "", "", _ERRNO | errno.EAFNOSUPPORT),
        "allow",
        (_RETURN, "", "", _ALLOW),
        "trap",
        (_RETURN, "", "", _TRAP),
    ]
    return _assembled(lines)


def _assembled(lines: list[tuple[int, str, str, int] | str]) -> bytes:
    """Instructions, with jumps to labels (an empty one: the next instruction) counted out."""
    places: dict[str, int] = {}
    instructions: list[tuple[int, str, str, int]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)
    packed = b""
    for at, (code, true, false, value) in enumerate(instructions, start=1):
        jumps = (places[label] - at if label else 0 for label in (true, false))
        packed += struct.pack("=HBBI", code, *jumps, value)
    return packed
