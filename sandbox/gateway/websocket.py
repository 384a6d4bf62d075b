"""WebSocket (RFC 6455) after an HTTP upgrade: messages are unmasked and kept, as a server would read them."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from collector.records import RawRecord

if TYPE_CHECKING:
    from sandbox.gateway.channel import Channel
    from sandbox.gateway.services import Services

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10
_CONTROL = 8
_SHORT, _MEDIUM = 125, 126
_MAX_PENDING = 8 * 1024**2
_CLOSE_FRAME = b"\x88\x00"


class Frame(msgspec.Struct, frozen=True):
    """One frame, unmasked."""

    opcode: int
    payload: bytes


def accept_key(key: str) -> str:
    """Return the server's `Sec-WebSocket-Accept` for a client's key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def read_frame(data: bytes) -> tuple[Frame | None, bytes]:
    """Cut the first frame off.

    Returns:
        The frame, or None when it is not complete, and the bytes after it.
    """
    if len(data) < 2:  # noqa: PLR2004 - the least head
        return None, data
    masked, length, at = data[1] & 0x80, data[1] & 0x7F, 2
    if length > _SHORT:
        size = 2 if length == _MEDIUM else 8
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    key = data[at : at + 4] if masked else b""
    at += len(key)
    if len(data) < at + length or (masked and len(key) < 4):  # noqa: PLR2004 - the length of a mask
        return None, data
    return Frame(data[0] & 0x0F, _unmask(data[at : at + length], key)), data[at + length :]


def _unmask(payload: bytes, key: bytes) -> bytes:
    if not key or not payload:
        return payload
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


async def serve_websocket(services: Services, channel: Channel, conn: int) -> None:
    """Listen until the peer closes; pings are answered.

    Raises:
        OSError: The connection broke or was silent for too long.
    """
    limits, started = services.limits, time.time()
    kept, size, data = bytearray(), 0, b""
    try:
        while more := await channel.receive(limits.idle_seconds):
            data += more
            frame, data = read_frame(data)
            while frame is not None:
                if frame.opcode < _CONTROL:
                    size += len(frame.payload)
                    kept += frame.payload[: max(0, limits.body_bytes - len(kept))]
                elif frame.opcode == _PING:
                    await channel.send(bytes([0x80 | _PONG, len(frame.payload[:_SHORT])]) + frame.payload[:_SHORT])
                elif frame.opcode == _CLOSE:
                    await channel.send(_CLOSE_FRAME)
                    return
                frame, data = read_frame(data)
            if len(data) > _MAX_PENDING:
                return
    finally:
        # What is left is no whole frame; it is evidence all the same.
        size += len(data)
        kept += data[: max(0, limits.body_bytes - len(kept))]
        if size:
            services.journal.write(
                RawRecord(ts=started, conn=conn, payload=bytes(kept), size=size, truncated=size > len(kept)),
            )
