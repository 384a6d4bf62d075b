"""Socket addresses as strace prints them: in a call's arguments and in what it says a descriptor is."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

import msgspec

from collector.strace import Group, Text, Word
from collector.syscalls.paths import decoded

if TYPE_CHECKING:
    from collector.strace import Argument, Value

INTERNET: Final = frozenset({b"AF_INET", b"AF_INET6"})
_PORT_DIGITS: Final = 5
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")
_SOCKET: Final = re.compile(rb"([A-Z]+)(v6)?:\[(.*)\]\Z", re.DOTALL)
_PROTOCOLS: Final = {b"TCP": "tcp", b"UDP": "udp", b"UDPLITE": "udp", b"PING": "icmp", b"ICMP": "icmp", b"RAW": "raw"}


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
    if family.text not in INTERNET:
        return Address(family.text)
    six = family.text == b"AF_INET6"
    port = _number(value.get("sin6_port" if six else "sin_port"))
    ip = canonical(_applied(value.items, b"inet_pton" if six else b"inet_addr"))
    return Address(family.text, ip, port) if ip and port >= 0 else None


def ends(target: bytes) -> tuple[str, str, str]:
    """Protocol, near and far end of a descriptor's name such as `TCP:[127.0.0.1:4->192.0.2.1:80]`."""
    match = _SOCKET.match(target)
    if match is None or match[1] not in _PROTOCOLS:
        return ("unknown", "", "")
    near, _, far = decoded(match[3]).partition("->")
    return (_PROTOCOLS[match[1]], near, far)


def split_end(end: str) -> tuple[str, int] | None:
    """Address and port of one end such as `192.0.2.1:80` or `[::1]:80`; None when it is none."""
    ip, _, port = end.rpartition(":")
    address = canonical(ip.removeprefix("[").removesuffix("]"))
    return (address, int(port)) if address and _PORT.match(port) else None
