"""Reads a TLS ClientHello from a client's first bytes: the server name is evidence even when the handshake fails."""

from __future__ import annotations

import msgspec

MAX_HELLO = 65536
_RECORD_HEADER, _HANDSHAKE_HEADER = 5, 4
_HANDSHAKE, _CLIENT_HELLO = 0x16, 0x01
_MAX_RECORD = 16384 + 256
_EXT_SERVER_NAME, _EXT_ALPN = 0, 16
_RANDOM = 32


class Hello(msgspec.Struct, frozen=True):
    """What a client said of itself."""

    sni: str = ""
    alpn: tuple[str, ...] = ()


class _Reader:
    """Cuts length-prefixed pieces; running over the end is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ValueError("the hello ends early")
        self._at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def looks_like_tls(data: bytes) -> bool:
    """Tell whether the first bytes (one or more) may begin a TLS handshake record."""
    return data[:1] == b"\x16" and data[1:2] in (b"", b"\x03")


def parse_hello(data: bytes) -> Hello | None:
    """Parse a ClientHello that begins at `data`'s first record.

    Returns:
        The hello, or None when more bytes are needed.

    Raises:
        ValueError: This is no ClientHello, whatever follows.
    """
    message = _handshake_bytes(data)
    if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
        raise ValueError("the first handshake message is no ClientHello")
    if len(message) < _HANDSHAKE_HEADER:
        return None
    length = int.from_bytes(message[1:_HANDSHAKE_HEADER], "big")
    if length > MAX_HELLO:
        raise ValueError("the hello is too long")
    body = message[_HANDSHAKE_HEADER : _HANDSHAKE_HEADER + length]
    if len(body) == length:
        return _parse_body(body)
    if len(data) > 2 * MAX_HELLO:
        # Many tiny records: more header than hello.
        raise ValueError("the hello is too long")
    return None


def _handshake_bytes(data: bytes) -> bytes:
    """Join the payloads of the first handshake records, up to the end of the first message."""
    message, at = b"", 0
    while at < len(data):
        if data[at] != _HANDSHAKE:
            raise ValueError("a record in the hello is no handshake record")
        header = data[at : at + _RECORD_HEADER]
        if len(header) < _RECORD_HEADER:
            break
        length = int.from_bytes(header[3:], "big")
        if not 0 < length <= _MAX_RECORD or header[1] != 3:  # noqa: PLR2004 - TLS versions are 3.x on the wire
            raise ValueError("not a TLS record")
        message += data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        at += _RECORD_HEADER + length
        if len(message) >= _HANDSHAKE_HEADER:
            wanted = _HANDSHAKE_HEADER + int.from_bytes(message[1:_HANDSHAKE_HEADER], "big")
            if len(message) >= wanted:
                break
    return message


def _parse_body(body: bytes) -> Hello:
    reader = _Reader(body)
    reader.take(2 + _RANDOM)
    reader.vector(1)
    reader.vector(2)
    reader.vector(1)
    if not reader:
        return Hello()
    extensions = _Reader(reader.vector(2))
    sni = ""
    alpn: tuple[str, ...] = ()
    while extensions:
        kind, value = extensions.number(2), _Reader(extensions.vector(2))
        if kind == _EXT_SERVER_NAME and value:
            sni = _server_name(_Reader(value.vector(2)))
        elif kind == _EXT_ALPN and value:
            alpn = _protocols(_Reader(value.vector(2)))
    return Hello(sni, alpn)


def _server_name(names: _Reader) -> str:
    while names:
        kind, value = names.number(1), names.vector(2)
        if kind == 0:
            return value[:255].decode("ascii", "backslashreplace")
    return ""


def _protocols(names: _Reader) -> tuple[str, ...]:
    found: list[str] = []
    while names and len(found) < 16:  # noqa: PLR2004 - a bound
        found.append(names.vector(1).decode("ascii", "backslashreplace"))
    return tuple(found)
