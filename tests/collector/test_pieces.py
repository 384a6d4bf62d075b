"""Bait that is sent in pieces over several messages is found in each of them."""

from __future__ import annotations

import base64
import gzip
import json
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.bait import BaitScanner
from collector.pieces import MAX_JOINED, Message, of_payload, of_request, search
from collector.records import HttpRecord
from tests.collector.bundles import AWS_VALUE, BAITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECRET = AWS_VALUE.encode()
PEER = ("203.0.113.9",)
REQUEST = HttpRecord(ts=0.0, conn=1, tls=False, method="POST", host="c.test", target="/")
PACKED = base64.urlsafe_b64encode(gzip.compress(b"key=" + SECRET, mtime=0))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def baits(messages: Sequence[Message]) -> list[list[str]]:
    return [sorted(bait) for bait in search(messages, BaitScanner(BAITS)).bait]


def in_query(number: int, piece: bytes) -> Message:
    return Message(PEER, of_request(msgspec.structs.replace(REQUEST, target=f"/c?i={number}&d={piece.decode()}")))


def in_path(_: int, piece: bytes) -> Message:
    return Message(PEER, of_request(msgspec.structs.replace(REQUEST, target=f"/v1/{piece.decode()}")))


def in_header(number: int, piece: bytes) -> Message:
    headers = (("Host", "c.test"), ("X-Part", str(number)), ("X-Data", piece.decode()))
    return Message(PEER, of_request(msgspec.structs.replace(REQUEST, headers=headers)))


def in_json(number: int, piece: bytes) -> Message:
    body = json.dumps({"seq": number, "data": {"part": piece.decode()}}).encode()
    return Message(PEER, of_request(msgspec.structs.replace(REQUEST, body=body)))


def in_form(number: int, piece: bytes) -> Message:
    return Message(PEER, of_request(msgspec.structs.replace(REQUEST, body=b"n=%d&part=%b" % (number, piece))))


def in_body(_: int, piece: bytes) -> Message:
    return Message(PEER, of_request(msgspec.structs.replace(REQUEST, body=piece)))


def in_payload(_: int, piece: bytes) -> Message:
    return Message(PEER, of_payload(piece))


def in_numbered_payload(number: int, piece: bytes) -> Message:
    return Message(PEER, of_payload(b"%d:%b" % (number, piece)))


HOSTILE = [b'{"a":' * 3_000, b"[" * 3_000, b"a=&" * 200, b"1:", b"{}", b"[1, 2.5, null, true]"]
EVERY = [in_query, in_path, in_header, in_json, in_form, in_body, in_payload, in_numbered_payload]
NUMBERED = [in_query, in_header, in_json, in_form, in_numbered_payload]


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("size", [1, 7, 20])
def test_pieces_in_order(make: type[Message], size: int) -> None:
    for data, label in ((SECRET, "plain"), (SECRET.hex().encode(), "hex"), (PACKED.rstrip(b"="), "base64+gzip")):
        messages = [make(number, piece) for number, piece in enumerate(cut(data, size))]
        assert baits(messages) == [[f"aws-secret-access-key/{label}"]] * len(messages)


@pytest.mark.parametrize("make", NUMBERED)
def test_pieces_out_of_order_are_put_in_order_by_their_numbers(make: type[Message]) -> None:
    messages = [make(number, piece) for number, piece in enumerate(cut(SECRET, 6))]
    random.Random(5).shuffle(messages)  # noqa: S311 - the same order each time
    assert baits(messages) == [["aws-secret-access-key/plain"]] * len(messages)


@pytest.mark.parametrize(
    ("encode", "label"),
    [(base64.b64encode, "base64"), (base64.urlsafe_b64encode, "base64"), (base64.b32encode, "base32")],
)
@pytest.mark.parametrize("size", [4, 10, 11])
def test_pieces_that_were_each_encoded(encode: Callable[[bytes], bytes], label: str, size: int) -> None:
    messages = [in_json(number, encode(piece)) for number, piece in enumerate(cut(SECRET, size))]
    assert baits(messages) == [[f"aws-secret-access-key/{label}"]] * len(messages)


def test_what_was_sent_twice_does_not_part_the_pieces() -> None:
    messages = [in_body(0, piece) for piece in cut(SECRET, 10) for _ in range(2)]
    found = baits(messages)
    assert [bait for bait in found if bait] == [["aws-secret-access-key/plain"]] * len(cut(SECRET, 10))


def test_messages_with_no_piece_are_not_blamed() -> None:
    messages = [in_query(0, b"hello"), *(in_query(1, piece) for piece in cut(SECRET, 20)), in_query(2, b"bye")]
    assert baits(messages) == [[], *[["aws-secret-access-key/plain"]] * 3, []]


def test_a_process_that_spreads_pieces_over_peers() -> None:
    messages = [Message((number, "412"), of_payload(piece)) for number, piece in enumerate(cut(SECRET, 20))]
    assert baits(messages) == [["aws-secret-access-key/plain"]] * 3
    apart = [Message((number,), of_payload(piece)) for number, piece in enumerate(cut(SECRET, 20))]
    assert baits(apart) == [[]] * 3


def test_a_value_in_one_message_is_not_of_its_neighbours() -> None:
    assert baits([in_body(0, b"a"), in_body(1, SECRET), in_body(2, b"c")]) == [[], [], []]


def test_more_than_is_put_together_is_told() -> None:
    large = [in_payload(number, bytes([number]) * (MAX_JOINED // 3)) for number in range(4)]
    assert not search(large, BaitScanner(BAITS)).whole
    assert search(large[:2], BaitScanner(BAITS)).whole


def in_many(shape: str, fields: int) -> Callable[[int, bytes], Message]:
    """Puts a piece after others in a message with so many fields."""

    def made(_: int, piece: bytes) -> Message:
        others = [(f"f{field}", f"v{field}") for field in range(fields - 1)]
        pairs = [*others, ("part", piece.decode())]
        request = {
            "form": {"body": "&".join(f"{name}={value}" for name, value in pairs).encode()},
            "query": {"target": "/?" + "&".join(f"{name}={value}" for name, value in pairs)},
            "headers": {"headers": tuple(pairs)},
            "object": {"body": json.dumps(dict(pairs)).encode()},
            "list": {"body": json.dumps([value for _, value in pairs]).encode()},
        }[shape]
        return Message(PEER, of_request(msgspec.structs.replace(REQUEST, **request)))

    return made


@pytest.mark.parametrize("shape", ["form", "query", "headers", "object", "list"])
def test_more_fields_than_are_looked_at_are_told(shape: str) -> None:
    pieces = list(enumerate(cut(SECRET, 10)))
    fit = search([in_many(shape, 64)(*piece) for piece in pieces], BaitScanner(BAITS))
    assert (fit.whole, set(fit.bait)) == (True, {frozenset({"aws-secret-access-key/plain"})})
    more = [in_many(shape, 65)(*piece) for piece in pieces]
    assert not search(more, BaitScanner(BAITS)).whole
    # What is alone belongs with nothing.
    assert search(more[:1], BaitScanner(BAITS)).whole


def test_the_first_fields_of_many_are_looked_at() -> None:
    bodies = [b"part=%b&" % piece + b"&".join([b"f=v"] * 70) for piece in cut(SECRET, 10)]
    messages = [Message(PEER, of_request(msgspec.structs.replace(REQUEST, body=body))) for body in bodies]
    assert baits(messages) == [["aws-secret-access-key/plain"]] * len(bodies)


def test_objects_that_are_too_deep_are_told() -> None:
    bodies = [json.dumps({"a": {"b": {"c": {"d": text}}}}).encode() for text in ("x", "y")]
    deeper = [json.dumps({"a": {"b": {"c": {"d": {"e": text}}}}}).encode() for text in ("x", "y")]
    assert search([in_body(0, body) for body in bodies], BaitScanner(BAITS)).whole
    assert not search([in_body(0, body) for body in deeper], BaitScanner(BAITS)).whole


@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.text(max_size=20), max_size=8))
def test_nothing_that_is_sent_is_an_error(bodies: list[bytes], targets: list[str]) -> None:
    messages = [in_payload(0, body) for body in [*bodies, *HOSTILE]]
    messages += [Message(PEER, of_request(msgspec.structs.replace(REQUEST, target=target))) for target in targets]
    assert baits(messages) == [[]] * len(messages)
