from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.gateway.hello import Hello, parse_hello


def real_hello(name: str | None = "name.test", alpn: tuple[str, ...] = ()) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_real_hello() -> None:
    assert parse_hello(real_hello(alpn=("h2", "http/1.1"))) == Hello("name.test", ("h2", "http/1.1"))
    assert parse_hello(real_hello(None)) == Hello()


def test_every_proper_beginning_asks_for_more() -> None:
    data = real_hello()
    assert {parse_hello(data[:size]) for size in range(len(data))} == {None}
    assert parse_hello(data + b"more records") == parse_hello(data)


def test_a_hello_over_several_records() -> None:
    message = real_hello()[5:]
    pieces = [message[at : at + 40] for at in range(0, len(message), 40)]
    split = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert parse_hello(split) == Hello("name.test")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x02\x01\x00\x05",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x01\x01\x17\x03\x03\x00\x01\x00",
        b"\x16\x03\x01\x00\x01\x01" + b"\x16\x03\x01\x00\x01\x00" * 30_000,
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_hello(data)


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_damage_is_a_value_error_at_most(at: int, damage: bytes) -> None:
    data = real_hello()
    try:
        found = parse_hello(data[:at] + damage + data[at + len(damage) :])
    except ValueError:
        return
    assert found is None or isinstance(found, Hello)
