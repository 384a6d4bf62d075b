"""Calls on sockets: dialled, listened on, sent to, and put in place of standard input or output."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

import msgspec

from collector.events import KernelCall, NetworkConnect, NetworkListen, NetworkUnix
from collector.processes import Peer
from collector.strace import Argument, Descriptor, Group, Text, Value, Word
from collector.syscalls.paths import absolute, decoded
from collector.syscalls.trace import Send

if TYPE_CHECKING:
    from collector.syscalls.step import Handler, Step

MAX_PAYLOAD: Final = 4096
_MAX_SENT: Final = 64 * 1024 * 1024
"""Bytes of payload kept for one phase."""

_PORT_DIGITS: Final = 5
_SOCKET: Final = re.compile(rb"([A-Z]+)(v6)?:\[(.*)\]\Z", re.DOTALL)
_PROTOCOLS: Final = {b"TCP": "tcp", b"UDP": "udp", b"UDPLITE": "udp", b"PING": "icmp", b"ICMP": "icmp", b"RAW": "raw"}
_KINDS: Final = {b"SOCK_STREAM": "tcp", b"SOCK_DGRAM": "udp", b"SOCK_RAW": "raw"}
_INTERNET: Final = frozenset({b"AF_INET", b"AF_INET6"})
_HARMLESS: Final = frozenset({b"AF_UNSPEC", b"AF_NETLINK"})


class Address(msgspec.Struct, frozen=True):
    """A socket address; `path` for unix sockets."""

    family: bytes
    ip: str = ""
    port: int = 0
    path: str = ""


def _number(value: Value | None) -> int:
    """The number in `htons(53)`; -1 when there is none."""
    if isinstance(value, Group) and value.function == b"htons" and value.items:
        inner = value.items[0].value
        if isinstance(inner, Word) and inner.text.isdigit() and len(inner.text) <= _PORT_DIGITS:
            return int(inner.text)
    return -1


def _applied(items: tuple[Argument, ...], function: bytes) -> str:
    """The string in `inet_addr("...")` or `inet_pton(AF_INET6, "...", ...)`."""
    for item in items:
        if isinstance(item.value, Group) and item.value.function == function:
            for inner in item.value.items:
                if isinstance(inner.value, Text):
                    return decoded(inner.value.value)
    return ""


def canonical(ip: str) -> str:
    """An address in its shortest form, IPv4 inside IPv6 as IPv4; empty when it is not an address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def read_address(value: Value | None) -> Address | None:
    """A `sockaddr`; None when it could not be read."""
    family = value.get("sa_family") if isinstance(value, Group) else None
    if not isinstance(value, Group) or not isinstance(family, Word):
        return None
    if family.text == b"AF_UNIX":
        path = value.get("sun_path")
        if not isinstance(path, Text):
            return Address(family.text)
        return Address(family.text, path=("@" if path.abstract else "") + decoded(path.value))
    if family.text not in _INTERNET:
        return Address(family.text)
    six = family.text == b"AF_INET6"
    port = _number(value.get("sin6_port" if six else "sin_port"))
    ip = canonical(_applied(value.items, b"inet_pton" if six else b"inet_addr"))
    return Address(family.text, ip, port) if ip and port >= 0 else None


def _ends(target: bytes) -> tuple[str, str, str]:
    """Protocol, near and far end of a descriptor's name such as `TCP:[127.0.0.1:4->192.0.2.1:80]`."""
    match = _SOCKET.match(target)
    if match is None or match[1] not in _PROTOCOLS:
        return ("unknown", "", "")
    near, _, far = decoded(match[3]).partition("->")
    return (_PROTOCOLS[match[1]], near, far)


def _split(end: str) -> tuple[str, int] | None:
    ip, _, port = end.rpartition(":")
    address = canonical(ip.removeprefix("[").removesuffix("]"))
    return (address, int(port)) if address and port.isdigit() else None


def _peer(step: Step, descriptor: Descriptor) -> Peer | None:
    """The far end of a connected socket: as annotated, else what the process last dialled on it."""
    protocol, _, far = _ends(descriptor.target)
    if protocol == "unknown" and not descriptor.target.startswith(b"socket:["):
        return None
    if (end := _split(far)) is not None:
        return Peer(end[0], end[1], protocol)
    known = step.process.descriptors.get(descriptor.number)
    return known if isinstance(known, Peer) else None


def _socket(step: Step) -> bool:
    """Keep what a socket is: not every kernel (gVisor's) lets the tracer ask later."""
    made = step.call.descriptor()
    if made is None or step.word(0) not in _INTERNET:
        return True
    protocol = _KINDS.get(step.word(1).partition(b"|")[0])
    if protocol is not None:
        ping = protocol == "udp" and step.word(2).startswith(b"IPPROTO_ICMP")
        step.out.sockets[made.target] = "icmp" if ping else protocol
    return True


def _protocol(step: Step, socket: Value | None) -> str:
    """The protocol of a socket: as annotated, else as it was made."""
    if not isinstance(socket, Descriptor):
        return "unknown"
    annotated = _ends(socket.target)[0]
    return step.out.sockets.get(socket.target, "unknown") if annotated == "unknown" else annotated


def _connect(step: Step) -> bool:
    address = read_address(step.value(1))
    if address is None:
        return step.unreadable()
    return _dialled(step, address)


def _dialled(step: Step, address: Address) -> bool:
    if address.family == b"AF_UNIX":
        if address.path:
            abstract = address.path.startswith("@")
            step.emit(NetworkUnix, path=address.path if abstract else absolute(address.path, step.process.cwd))
    elif address.family in _INTERNET:
        socket = step.value(0)
        protocol = _protocol(step, socket)
        # Under way is not failed: every dial with a time limit answers so.
        errno = "" if step.errno == "EINPROGRESS" else step.errno
        if step.errno in {"EALREADY", "EISCONN"}:
            return True  # Asked again about a dial that has its event.
        step.emit(NetworkConnect, ip=address.ip, port=address.port, protocol=protocol, errno=errno)
        if not errno and isinstance(socket, Descriptor):
            step.process.descriptors[socket.number] = Peer(address.ip, address.port, protocol)
    elif address.family not in _HARMLESS:
        step.emit(KernelCall, call=step.call.name, args=decoded(step.call.raw))
    return True


def _bind(step: Step) -> bool:
    address, socket = read_address(step.value(1)), step.value(0)
    if address is None:
        return step.unreadable()
    if address.family in _INTERNET and address.port:
        protocol = _protocol(step, socket)
        _listening(step, protocol, address.ip, address.port)
    elif address.family == b"AF_PACKET":
        step.emit(KernelCall, call="bind", args=decoded(step.call.raw))
    return True


def _listen(step: Step) -> bool:
    socket = step.value(0)
    if isinstance(socket, Descriptor):
        protocol, near, _ = _ends(socket.target)
        if (end := _split(near)) is not None:
            _listening(step, protocol, *end)
    return True


def _listening(step: Step, protocol: str, ip: str, port: int) -> None:
    key = (protocol, ip, port)
    if not step.errno:
        if key in step.process.listening:
            return
        step.process.listening.add(key)
    step.emit(NetworkListen, ip=ip, port=port, protocol=protocol)


def _sendto(step: Step) -> bool:
    payload = step.value(1)
    address = step.value(4)
    data = payload.value if isinstance(payload, Text) else b""
    return _sent(step, address, data, b"MSG_FASTOPEN" in step.word(3))


def _sendmsg(step: Step) -> bool:
    return _message(step, step.value(1), b"MSG_FASTOPEN" in step.word(2))


def _sendmmsg(step: Step) -> bool:
    messages = step.value(1)
    if not isinstance(messages, Group):
        return step.unreadable()
    understood = True
    for item in messages.items:
        head = item.value.get("msg_hdr") if isinstance(item.value, Group) else None
        understood &= _message(step, head, b"MSG_FASTOPEN" in step.word(3))
    return understood


def _message(step: Step, head: Value | None, fast_open: bool) -> bool:
    if not isinstance(head, Group):
        return step.unreadable()
    vector = head.get("msg_iov")
    parts = []
    if isinstance(vector, Group):
        for item in vector.items:
            base = item.value.get("iov_base") if isinstance(item.value, Group) else None
            if isinstance(base, Text):
                parts.append(base.value)
    return _sent(step, head.get("msg_name"), b"".join(parts), fast_open)


def _sent(step: Step, to: Value | None, data: bytes, fast_open: bool) -> bool:
    socket = step.value(0)
    address = read_address(to)
    protocol = _protocol(step, socket)
    if protocol == "tcp" or fast_open:
        # What TCP carries comes from the gateway; only data sent with the dial itself is a dial nobody else shows.
        return _dialled(step, address) if fast_open and address is not None else True
    if address is not None and address.family == b"AF_UNIX":
        return _dialled(step, address)
    if address is None or address.family not in _INTERNET:
        peer = _peer(step, socket) if isinstance(socket, Descriptor) else None
    else:
        peer = Peer(address.ip, address.port, protocol)
    if peer is not None:
        kept = data[:MAX_PAYLOAD] if step.out.sent_bytes < _MAX_SENT else b""
        step.out.sent_bytes += len(kept)
        step.out.sends.append(Send(step.call.ts, step.pid, peer.ip, peer.port, peer.protocol, kept, step.source))
    return True


def _duplicated(step: Step) -> bool:
    """The new descriptor is what the old one was: this is how a socket becomes a shell's standard input."""
    old, new = step.value(0), step.call.result
    if new is None or new < 0:
        return True
    known: str | Peer | None = None
    if isinstance(old, Descriptor):
        path = decoded(old.target)
        known = path if path.startswith("/") else _peer(step, old)
    if known is None:
        step.process.descriptors.pop(new, None)
    else:
        step.process.descriptors[new] = known
    return True


HANDLERS: Final[dict[str, Handler]] = {
    "socket": _socket,
    "connect": _connect,
    "bind": _bind,
    "listen": _listen,
    "sendto": _sendto,
    "sendmsg": _sendmsg,
    "sendmmsg": _sendmmsg,
    "dup2": _duplicated,
    "dup3": _duplicated,
}
