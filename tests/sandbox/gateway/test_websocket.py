from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.records import HttpRecord, RawRecord
from sandbox.gateway.websocket import Frame, accept_key, read_frame

if TYPE_CHECKING:
    from .conftest import Pod


def frame(opcode: int, payload: bytes, key: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode]) + length + key + masked


def test_the_example_of_the_standard() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert read_frame(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58more") == (Frame(1, b"Hello"), b"more")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_every_length(size: int) -> None:
    data = frame(2, b"a" * size)
    assert read_frame(data) == (Frame(2, b"a" * size), b"")
    assert read_frame(data[:-1]) == (None, data[:-1])


@given(st.binary(max_size=40))
def test_garbage_is_cut_or_kept(data: bytes) -> None:
    found, rest = read_frame(data)
    assert data.endswith(rest)
    assert (found is None) == (rest == data)


def test_messages_are_seen_unmasked(pod: Pod) -> None:
    data = frame(9, b"?") + frame(1, b"the secret") + frame(2, b" and more") + frame(8, b"")
    answer = pod.python(
        "s = socket.create_connection(('192.0.2.7', 80))\n"
        "s.sendall(b'GET /ws HTTP/1.1\\r\\nHost: c2.test\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n'\n"
        f"          b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n' + {data!r})\n"
        "while d := s.recv(999): sys.stdout.buffer.write(d)\n",
    )
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\x8a\x01?\x88\x00")
    assert pod.records(RawRecord)[0].payload == b"the secret and more"
    assert pod.records(HttpRecord)[0].status == 101
