"""What descriptors are: duplicated, closed on exec, accepted, received from another process.

strace names most descriptors wherever a call mentions them, and that is the truth. The table here serves where no call
does: at an exec, what standard input, output and error are. `close` is not traced (it would nearly double a trace); a
number that is used again is renamed by the call that gives it out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collector.live_processes import Peer, Socket
from collector.strace import Descriptor, Group, Word
from collector.syscalls.addresses import ends, split_end
from collector.syscalls.paths import decoded

if TYPE_CHECKING:
    from collector.live_processes import Known
    from collector.strace import Value
    from collector.syscalls.step import Handler, Step

_MOST_RECEIVED: Final = 253
"""Descriptors that one message can carry (SCM_MAX_FD)."""
_RIGHTS: Final = b"SCM_RIGHTS"
_SOCKET: Final = re.compile(rb"(?:[A-Z]+(?:v6)?|UNIX-[A-Z]+|socket):\[")
_NUMBER: Final = re.compile(rb"[0-9]{1,10}\Z")


def known(step: Step, file: Descriptor) -> Known | None:
    """What a descriptor is: as annotated, else as it is remembered."""
    target = file.target
    if target.startswith(b"/"):
        return decoded(target)
    protocol, _, far = ends(target)
    if (end := split_end(far)) is not None:
        return Peer(end[0], end[1], protocol)
    if _SOCKET.match(target) is None:
        return None
    remembered = step.process.descriptors.get(file.number)
    return remembered if isinstance(remembered, Peer) else Socket(target)


def put(step: Step, number: int, what: Known | None, *, closes: bool) -> None:
    """A number was given out; `closes` when an exec closes it."""
    process = step.process
    if what is None:
        process.descriptors.pop(number, None)
    else:
        process.descriptors[number] = what
    if closes:
        process.closing.add(number)
    else:
        process.closing.discard(number)


def _given(step: Step, old: Value | None, *, closes: bool) -> bool:
    """The call gave out a number for what `old` is: this is how a socket becomes a shell's standard input."""
    number = step.call.result
    if number is None or number < 0:
        return True
    # Not every kernel (gVisor's) lets the tracer ask what a descriptor is.
    what = known(step, old) if isinstance(old, Descriptor) else step.process.descriptors.get(_plain(old))
    put(step, number, what, closes=closes)
    return True


def _plain(value: Value | None) -> int:
    return int(value.text) if isinstance(value, Word) and _NUMBER.match(value.text) else -1


def _dup(step: Step) -> bool:
    return _given(step, step.value(0), closes=False)


def _dup2(step: Step) -> bool:
    old = step.value(0)
    if isinstance(old, Descriptor) and old.number == step.call.result:
        return True  # Nothing changes, not even whether an exec closes it.
    return _given(step, old, closes=False)


def _dup3(step: Step) -> bool:
    return _given(step, step.value(0), closes=b"O_CLOEXEC" in step.word(2))


def _fcntl(step: Step) -> bool:
    command = step.word(1)
    if command in {b"F_DUPFD", b"F_DUPFD_CLOEXEC"}:
        return _given(step, step.value(0), closes=command != b"F_DUPFD")
    file = step.value(0)
    # All other commands ask something, or change what is not followed.
    step.idle = command != b"F_SETFD" or not step.succeeded
    if not step.idle and isinstance(file, Descriptor):
        if b"FD_CLOEXEC" in step.word(2):
            step.process.closing.add(file.number)
        else:
            step.process.closing.discard(file.number)
    return True


def _close_range(step: Step) -> bool:
    first, last, flags = _plain(step.value(0)), _plain(step.value(1)), step.word(2)
    if not step.succeeded or first < 0 or last < first:
        return True
    process = step.process
    within = [number for number in process.descriptors if first <= number <= last]
    if b"CLOSE_RANGE_CLOEXEC" in flags:
        process.closing.update(within)
        return True
    if b"CLOSE_RANGE_UNSHARE" in flags:
        process.unshare_descriptors()
    for number in within:
        process.descriptors.pop(number, None)
        process.closing.discard(number)
    return True


def _recvmsg(step: Step) -> bool:
    # Most messages bring no descriptors. They are long, and to read them would take most of the time of a trace.
    step.idle = not step.succeeded or _RIGHTS not in step.call.raw
    if not step.idle:
        _received(step, step.value(1), closes=b"MSG_CMSG_CLOEXEC" in step.word(2))
    return True


def _recvmmsg(step: Step) -> bool:
    step.idle = not step.succeeded or _RIGHTS not in step.call.raw
    messages = None if step.idle else step.value(1)
    if isinstance(messages, Group):
        for item in messages.items:
            head = item.value.get("msg_hdr") if isinstance(item.value, Group) else None
            _received(step, head, closes=b"MSG_CMSG_CLOEXEC" in step.word(3))
    return True


def _received(step: Step, head: Value | None, *, closes: bool) -> None:
    """Descriptors that another process sent (SCM_RIGHTS), as far as strace shows them."""
    control = head.get("msg_control") if isinstance(head, Group) else None
    for message in control.items if isinstance(control, Group) else ():
        data = message.value.get("cmsg_data") if isinstance(message.value, Group) else None
        for item in data.items[:_MOST_RECEIVED] if isinstance(data, Group) else ():
            if isinstance(item.value, Descriptor):
                put(step, item.value.number, known(step, item.value), closes=closes)


HANDLERS: Final[dict[str, Handler]] = {
    "dup": _dup,
    "dup2": _dup2,
    "dup3": _dup3,
    "fcntl": _fcntl,
    "close_range": _close_range,
    "recvmsg": _recvmsg,
    "recvmmsg": _recvmmsg,
}
