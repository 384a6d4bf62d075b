"""Calls that ask for more: other users, groups and capabilities, namespaces, mounts, another root."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collector.events import CredentialChange, KernelCall, MountChange, NamespaceChange
from collector.strace import Descriptor
from collector.syscalls.paths import decoded

if TYPE_CHECKING:
    from collector.syscalls.step import Handler, Step

_NAMESPACES: Final = {
    b"CLONE_NEWUSER": "user",
    b"CLONE_NEWNS": "mount",
    b"CLONE_NEWPID": "pid",
    b"CLONE_NEWNET": "network",
    b"CLONE_NEWIPC": "ipc",
    b"CLONE_NEWUTS": "uts",
    b"CLONE_NEWCGROUP": "cgroup",
    b"CLONE_NEWTIME": "time",
}
_ENTERED: Final = {b"mnt": "mount", b"net": "network"}
"""Names of /proc/PID/ns that differ from ours."""
_NAMESPACE_FILE: Final = re.compile(
    rb"(?:/proc/[0-9]+/(?:task/[0-9]+/)?ns/)?([a-z]+)(?:_for_children)?(?::\[[0-9]+\])?\Z"
)
_CAPABILITY: Final = re.compile(rb"(?:effective|permitted)=(?!0[,}]|0x0[,}])")
_ROOT: Final = b"0"


def namespaces(flags: bytes) -> tuple[str, ...]:
    """The namespaces that flags such as `CLONE_NEWUSER|CLONE_NEWNS` name, in the order in which they stand there."""
    return tuple(_NAMESPACES[flag] for flag in flags.split(b"|") if flag in _NAMESPACES)


def gives_up(capset: bytes) -> bool:
    """Whether a capset with these arguments leaves no capability, nor the right to one."""
    return _CAPABILITY.search(capset) is None


def _unshare(step: Step) -> bool:
    flags = step.word(0)
    if step.succeeded and b"CLONE_NEWPID" in flags:
        step.process.nests_children = True
    if asked := namespaces(flags):
        step.emit(NamespaceChange, call="unshare", args=decoded(step.call.raw), namespaces=asked)
    else:
        # An open file table or a working directory of its own: nothing that leads out.
        step.emit(KernelCall, call="unshare", args=decoded(step.call.raw))
    return True


def _setns(step: Step) -> bool:
    asked = namespaces(step.word(1))
    file = step.value(0)
    if not asked and isinstance(file, Descriptor) and (match := _NAMESPACE_FILE.match(file.target)) is not None:
        asked = (_ENTERED.get(match[1], decoded(match[1])),)
    step.emit(NamespaceChange, call="setns", args=decoded(step.call.raw), namespaces=asked)
    return True


def _credentials(step: Step) -> bool:
    root = any(step.word(place) == _ROOT for place in range(3))
    step.emit(CredentialChange, call=step.call.name, args=decoded(step.call.raw), root=root)
    return True


def _setgroups(step: Step) -> bool:
    # The first argument is a count, so that 0 there gives all groups up.
    root = any(part.strip(b" []") == _ROOT for part in step.call.raw.partition(b",")[2].split(b","))
    step.emit(CredentialChange, call="setgroups", args=decoded(step.call.raw), root=root)
    return True


def _capset(step: Step) -> bool:
    step.emit(CredentialChange, call="capset", args=decoded(step.call.raw), root=not gives_up(step.call.raw))
    return True


def _mount(path: int | None, base: int | None = None, device: int | None = None, kind: int | None = None) -> Handler:
    """A handler that knows at which place the call names what; None where it does not."""

    def handle(step: Step) -> bool:
        at = None if path is None else step.path(path, base=base)
        step.emit(
            MountChange,
            call=step.call.name,
            args=decoded(step.call.raw),
            path=at or "",
            device=(None if device is None else step.text(device)) or "",
            filesystem=(None if kind is None else step.text(kind)) or "",
        )
        return True

    return handle


HANDLERS: Final[dict[str, Handler]] = {
    **dict.fromkeys(
        ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"), _credentials
    ),
    "setgroups": _setgroups,
    "capset": _capset,
    "unshare": _unshare,
    "setns": _setns,
    "mount": _mount(1, device=0, kind=2),
    "umount2": _mount(0),
    "pivot_root": _mount(0),
    "chroot": _mount(0),
    "move_mount": _mount(3, base=2, device=1),
    "open_tree": _mount(1, base=0),
    "fspick": _mount(1, base=0),
    "mount_setattr": _mount(1, base=0),
    "fsopen": _mount(None, kind=0),
    "fsconfig": _mount(None),
    "fsmount": _mount(None),
}
