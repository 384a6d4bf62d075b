"""The pod's own system call filter, made from `sandbox/system_calls.toml`, which says what is refused, how and why.

Bubblewrap loads it right before it executes the phase's command, the Docker pod's runner likewise: below the tracer.
"""

from __future__ import annotations

import errno
import json
import struct
from typing import TYPE_CHECKING, TypeAlias

from sandbox.system_calls import system_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.system_calls import RefusedArguments, SystemCalls

_LOAD, _EQUAL, _ABOVE, _NOT_BELOW, _AND_SET, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS, _ARGUMENT_BYTES = 0, 4, 16, 8
_ALLOW, _TRACE, _ERRNO, _TRAP = 0x7FFF0000, 0x7FF00000, 0x00050000, 0x00030000
_X86_64, _X32 = 0xC000003E, 0x40000000
_SKIPPED = 0xFFFFFFFF
"""The number that a tracer puts in place of a call it answers itself. To the kernel it is no call."""
_FARTHEST = 255

_Line: TypeAlias = tuple[int, str, str, int] | str
"""An instruction (code, label if true, label if false, value; an empty label is the next instruction), or a label."""

_TRACERS_OWN = frozenset({"ptrace", "process_vm_readv", "process_vm_writev"})
"""What strace needs, which stands under the Docker container's profile too."""


def program(*, above_tracer: bool = False) -> bytes:
    """The filter as classic BPF (`struct sock_filter` one after the other).

    Args:
        above_tracer: It holds the tracer too, or is asked before it, as in gVisor's kernel. The calls that the tracer
            answers are then left to it alone.
    """
    return _assembled(list(_lines(system_calls(), above_tracer=above_tracer)))


def _lines(rules: SystemCalls, *, above_tracer: bool) -> Iterator[_Line]:
    numbers = rules.named()
    yield (_LOAD, "", "", _ARCHITECTURE)
    yield (_EQUAL, "", "foreign", _X86_64)
    yield (_LOAD, "", "", _NUMBER)
    yield (_EQUAL, "allow", "", _SKIPPED)
    yield (_AND_SET, "foreign", "", _X32)
    for index, known in enumerate(rules.ranges):
        yield f"range {index}"
        yield (_NOT_BELOW, "", "unknown", known.start)
        yield (_ABOVE, f"range {index + 1}", "named", known.stop - 1)
    yield f"range {len(rules.ranges)}"
    yield "unknown"
    yield (_RETURN, "", "", _error(rules.unknown.error))
    yield "foreign"
    yield (_RETURN, "", "", _signal(rules.foreign.mark))
    yield "named"
    for call in () if above_tracer else rules.refused("tracer", "kernel"):
        yield (_EQUAL, "trace", "", numbers[call])
    by_call: dict[tuple[str, ...], list[RefusedArguments]] = {}
    for rule in rules.arguments:
        by_call.setdefault(rule.calls, []).append(rule)
    for calls in by_call:
        for call in calls:
            yield (_EQUAL, f"call {calls[0]}", "", numbers[call])
    yield "allow"
    yield (_RETURN, "", "", _ALLOW)
    yield "trace"
    yield (_RETURN, "", "", _TRACE)
    for calls, conditions in by_call.items():
        yield f"call {calls[0]}"
        for rule in conditions:
            yield from _condition(rule)
        yield (_RETURN, "", "", _ALLOW)


def _condition(rule: RefusedArguments) -> Iterator[_Line]:
    """Return the rule's answer when it holds, else go on."""
    refused, further = f"refused: {rule.name}", f"after: {rule.name}"
    # The kernel takes the low half only, too: flags of clone and seccomp, families, requests of ioctl.
    yield (_LOAD, "", "", _ARGUMENTS + rule.argument * _ARGUMENT_BYTES)
    if rule.any_bit_of:
        yield (_AND_SET, "", further, rule.any_bit_of)
    for value in rule.one_of[:-1]:
        yield (_EQUAL, refused, "", value)
    for value in rule.one_of[-1:]:
        yield (_EQUAL, "", further, value)
    for value in rule.none_of:
        yield (_EQUAL, further, "", value)
    yield refused
    yield (_RETURN, "", "", _signal(rule.mark) if rule.answer == "signal" else _error(rule.error))
    yield further


def _error(name: str) -> int:
    return _ERRNO | int(getattr(errno, name))


def _signal(mark: str) -> int:
    return _TRAP | int(getattr(errno, mark))


def _assembled(lines: list[_Line]) -> bytes:
    """Instructions, with jumps to labels counted out."""
    places: dict[str, int] = {}
    instructions: list[tuple[int, str, str, int]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)
    packed = b""
    for at, (code, true, false, value) in enumerate(instructions, start=1):
        jumps = [places[label] - at if label else 0 for label in (true, false)]
        if not all(0 <= jump <= _FARTHEST for jump in jumps):
            raise ValueError(f"system_calls.toml names too many calls: a jump to {true!r} or {false!r} is too far")
        packed += struct.pack("=HBBI", code, *jumps, value)
    return packed


def docker_profile() -> str:
    """The seccomp profile of the Docker pod's tracee container: its first process, the tracer and the package.

    It refuses for all of them what the package's tracer refuses for the package, but in a way that leaves the attempt
    to the tracer: an ERRNO here would hide it. What the tracer needs itself and conditions on arguments, which the
    package's own filter has, are not in it. A runtime with a kernel of its own may ignore it: gVisor does.

    Returns:
        JSON for `security_opt=["seccomp=..."]`.
    """
    rules = system_calls()
    refused = [call for call in rules.refused("tracer", "kernel") if call not in _TRACERS_OWN]
    allowed = [call for call in rules.named() if call not in refused]
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": int(getattr(errno, rules.unknown.error)),
            # The foreign ones pass, else libseccomp would kill: they meet the package's own filter, whose SIGSYS tells.
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                {"names": allowed, "action": "SCMP_ACT_ALLOW"},
                {"names": refused, "action": "SCMP_ACT_TRACE"},
            ],
        }
    )
