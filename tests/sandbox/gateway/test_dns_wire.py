from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.gateway import dns_wire as wire
from sandbox.gateway.names import AddressBook

HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
QUERY = HEADER + b"\x01a\x04test\x00\x00\x01\x00\x01"


def test_query_and_reply() -> None:
    query = wire.parse_query(QUERY)
    (question,) = query.questions
    assert (query.ident, query.opcode, question.name, question.qtype) == (0x1234, 0, "a.test", wire.TYPE_A)
    reply = wire.build_reply(query, wire.NOERROR, (wire.Answer(0, "198.18.0.1"),))
    assert reply[:2] == QUERY[:2]
    assert reply[2:8] == b"\x81\x80\x00\x01\x00\x01"
    assert reply.endswith(b"\x00\x04\xc6\x12\x00\x01")


def test_a_compressed_name_and_odd_labels() -> None:
    data = b"\x00\x01\x01\x00\x00\x02" + bytes(6) + b"\x03A.b\x00\x00\x01\x00\x01" + b"\x01\xff\xc0\x0c\x00\x10\x00\x01"
    names = [question.name for question in wire.parse_query(data).questions]
    assert names == ["a\\x2eb", "\\xff.a\\x2eb"]
    assert wire.type_name(64999) == "TYPE64999"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER,
        QUERY[:-1],
        HEADER + b"\xc0\x0c\x00\x01\x00\x01",
        HEADER + b"\x40" + bytes(80),
        HEADER + b"\x3f" + b"a" * 20,
        HEADER + (b"\x3f" + b"a" * 63) * 5 + b"\x00\x00\x01\x00\x01",
        b"\x12\x34\x81\x00" + QUERY[4:],
        b"\x12\x34\x01\x00\x00\xff" + QUERY[6:],
    ],
)
def test_what_is_no_query(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire.parse_query(data)


@given(st.binary(max_size=80))
def test_garbage_is_a_value_error_at_most(data: bytes) -> None:
    for start in (b"", HEADER):
        try:
            query = wire.parse_query(start + data)
        except ValueError:
            continue
        reply = wire.build_reply(query, wire.NXDOMAIN, ())
        assert int.from_bytes(reply[4:6], "big") == len(query.questions)
        assert all(name.isascii() and name.isprintable() for name in (q.name for q in query.questions))


def test_addresses_are_unique_and_given_again_at_the_very_end() -> None:
    book = AddressBook()
    first = book.address("first.test")
    assert first == "198.18.0.1"
    others = {book.address(f"n{number}.test") for number in range(131_069)}
    assert len(others) == 131_069
    assert max(others, key=lambda text: tuple(map(int, text.split(".")))) == "198.19.255.254"
    assert book.address("first.test") == first
    assert book.address("one-more.test") == first
    assert book.name(first) == "one-more.test"
    assert book.address("first.test") == "198.18.0.2"
    assert book.address("localhost") == "127.0.0.1"


def test_capitals_are_kept_beside_the_name() -> None:
    [question] = wire.parse_query(QUERY[:12] + b"\x04QuIt\x04Test\x00\x00\x01\x00\x01").questions
    assert (question.name, question.sent) == ("quit.test", "QuIt.Test")
