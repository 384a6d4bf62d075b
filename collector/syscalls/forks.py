"""Calls that make processes and threads: their flags, and what they separate a child from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.events import KernelCall, NamespaceChange
from collector.strace import Group, Word
from collector.syscalls import privileges
from collector.syscalls.paths import decoded

if TYPE_CHECKING:
    from collector.strace import Call
    from collector.syscalls.step import Step

FORKS: Final[dict[str, frozenset[int]]] = {
    "clone": frozenset({56, 120}),
    "clone3": frozenset({435}),
    "fork": frozenset({57, 2}),
    "vfork": frozenset({58, 190}),
}
"""Calls that make processes, with their numbers on x86_64 (and x32, less a bit) and i386."""

_NUMBER_BITS: Final = 0x3FFFFFFF


def flags_of(step: Step) -> bytes | None:
    """The flags of a fork-like call, empty for fork and vfork; None when they cannot be read."""
    if step.call.name in {"fork", "vfork"}:
        return b""
    if step.call.name == "clone3":
        arguments = step.value(0)
        value = arguments.get("flags") if isinstance(arguments, Group) else None
    else:
        value = step.named("flags")
    if isinstance(value, Word):
        return value.text
    return b"" if step.unreadable() else None


def returns_own_number(call: Call) -> bool:
    """Whether the result is the call's own number: so ends one that the pod's filter refuses with SIGSYS."""
    return (call.result or 0) & _NUMBER_BITS in FORKS[call.name]


def separated(step: Step, flags: bytes, errno: str | None) -> None:
    """A child in namespaces of its own, or one that no tracer follows."""
    own = privileges.namespaces(flags)
    if own:
        step.emit(NamespaceChange, call=step.call.name, args=decoded(flags), namespaces=own, errno=errno)
    if not own or b"CLONE_UNTRACED" in flags:
        step.emit(KernelCall, call=step.call.name, args=decoded(flags), errno=errno)
