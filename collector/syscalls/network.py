"""Calls on sockets: dialled, listened on, sent to, and put in place of standard input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.events import KernelCall, NetworkAccept, NetworkConnect, NetworkListen, NetworkSend, NetworkUnix
from collector.live_processes import Peer
from collector.strace import Descriptor, Group, Text
from collector.syscalls.addresses import INTERNET, ends, read_address, split_end
from collector.syscalls.descriptors import known, put
from collector.syscalls.paths import absolute, decoded
from collector.syscalls.trace import Send

if TYPE_CHECKING:
    from collector.strace import Value
    from collector.syscalls.addresses import Address
    from collector.syscalls.step import Handler, Step

MAX_PAYLOAD: Final = 4096
_MAX_SENT: Final = 64 * 1024 * 1024
"""Bytes of payload kept for one phase."""
_MOST_SENT: Final = 1000
"""Addresses of one process that are told: a scan of the whole network is shown by its first thousand."""

_KINDS: Final = {b"SOCK_STREAM": "tcp", b"SOCK_DGRAM": "udp", b"SOCK_RAW": "raw"}
_HARMLESS: Final = frozenset({b"AF_UNSPEC", b"AF_NETLINK"})


def _peer(step: Step, descriptor: Descriptor) -> Peer | None:
    """The far end of a connected socket: as annotated, else what was last dialled on it."""
    return step.out.peer(known(step, descriptor))


def _socket(step: Step) -> bool:
    """Keep what a socket is: not every kernel (gVisor's) lets the tracer ask later."""
    made = step.call.descriptor()
    if made is None or step.word(0) not in INTERNET:
        return True
    protocol = _KINDS.get(step.word(1).partition(b"|")[0])
    if protocol is not None:
        ping = protocol == "udp" and step.word(2).startswith(b"IPPROTO_ICMP")
        step.out.remember(step.out.sockets, made.target, "icmp" if ping else protocol)
    return True


def _protocol(step: Step, socket: Value | None) -> str:
    """The protocol of a socket: as annotated, else as it was made."""
    if not isinstance(socket, Descriptor):
        return "unknown"
    annotated = ends(socket.target)[0]
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
    elif address.family in INTERNET:
        socket = step.value(0)
        protocol = _protocol(step, socket)
        # Under way is not failed: every dial with a time limit answers so.
        errno = "" if step.errno == "EINPROGRESS" else step.errno
        if step.errno in {"EALREADY", "EISCONN"}:
            return True  # Asked again about a dial that has its event.
        step.emit(NetworkConnect, ip=address.ip, port=address.port, protocol=protocol, errno=errno)
        if not errno and isinstance(socket, Descriptor):
            peer = Peer(address.ip, address.port, protocol)
            step.process.descriptors[socket.number] = peer
            # Under the socket's name too: it may have been duplicated or sent elsewhere before it was dialled.
            step.out.remember(step.out.dialled, socket.target, peer)
    elif address.family not in _HARMLESS:
        step.emit(KernelCall, call=step.call.name, args=decoded(step.call.raw))
    return True


def _bind(step: Step) -> bool:
    address, socket = read_address(step.value(1)), step.value(0)
    if address is None:
        return step.unreadable()
    if address.family in INTERNET and address.port:
        protocol = _protocol(step, socket)
        _listening(step, protocol, address.ip, address.port)
    elif address.family == b"AF_PACKET":
        step.emit(KernelCall, call="bind", args=decoded(step.call.raw))
    return True


def _listen(step: Step) -> bool:
    socket = step.value(0)
    if isinstance(socket, Descriptor):
        protocol, near, _ = ends(socket.target)
        if (end := split_end(near)) is not None:
            _listening(step, protocol, *end)
    return True


_NO_ONE: Final = frozenset({"EAGAIN", "EINTR", "ERESTARTSYS", "UNFINISHED"})
"""An accept that waited in vain."""


def _accept(step: Step) -> bool:
    if step.errno in _NO_ONE:
        return True
    made = step.call.descriptor()
    protocol, near, far = ends(made.target) if made is not None else ("unknown", "", "")
    address = read_address(step.value(1))
    local, end = split_end(near), split_end(far)
    if end is None and address is not None and address.family in INTERNET:
        end = (address.ip, address.port)
    if made is not None:
        what = known(step, made) if end is None else Peer(*end, "tcp" if protocol == "unknown" else protocol)
        put(step, made.number, what, closes=b"SOCK_CLOEXEC" in step.word(3))
    if end is None:
        # A unix socket's peer has no name; a failed accept is one of the listening socket.
        listening = step.value(0)
        protocol, near, _ = ends(listening.target) if isinstance(listening, Descriptor) else ("unknown", "", "")
        local = split_end(near)
        if not step.errno or local is None:
            return True
        end = ("", 0)
    step.emit(
        NetworkAccept,
        ip=end[0],
        port=end[1],
        protocol="tcp" if protocol == "unknown" else protocol,
        local_ip=local[0] if local else "",
        local_port=local[1] if local else 0,
    )
    return True


def _listening(step: Step, protocol: str, ip: str, port: int) -> None:
    key = (protocol, ip, port)
    if not step.errno:
        listening = step.process.noted.listening
        if key in listening:
            return
        if len(listening) < _MOST_SENT:
            listening.add(key)
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
    if address is None or address.family not in INTERNET:
        peer = _peer(step, socket) if isinstance(socket, Descriptor) else None
    else:
        peer = Peer(address.ip, address.port, protocol)
    if peer is not None:
        kept = data[:MAX_PAYLOAD] if step.out.sent_bytes < _MAX_SENT else b""
        step.out.sent_bytes += len(kept)
        if step.out.table.allowance.takes("packets"):
            step.out.sends.append(Send(step.call.ts, step.pid, peer.ip, peer.port, peer.protocol, kept, step.source))
        _told(step, peer, len(data))
    return True


def _told(step: Step, peer: Peer, size: int) -> None:
    """The first packet of a process to an address is an event, and the first that failed."""
    first = (peer, step.errno)
    sent = step.process.noted.sent
    if step.errno not in _NO_ONE and first not in sent and len(sent) < _MOST_SENT:
        sent.add(first)
        step.emit(NetworkSend, ip=peer.ip, port=peer.port, protocol=peer.protocol, size=size)


HANDLERS: Final[dict[str, Handler]] = {
    "socket": _socket,
    "connect": _connect,
    "bind": _bind,
    "listen": _listen,
    "accept": _accept,
    "accept4": _accept,
    "sendto": _sendto,
    "sendmsg": _sendmsg,
    "sendmmsg": _sendmmsg,
}
