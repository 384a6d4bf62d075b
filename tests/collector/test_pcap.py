"""The reader of captures agrees with another one, and no bytes are ever an error."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.pcap import MAX_BLOCK, Frame, Pcap
from tests.collector.captures import block, packet, pcap, section

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKETS = st.lists(st.tuples(st.integers(0, 2_000_000_000_000_000), st.binary(max_size=90)), max_size=12)
"""Microseconds since the epoch, up to 2033: a float of seconds beyond 2038 cannot hold each of them."""
ORDERS = st.sampled_from("<>")


def frames(content: bytes, size: int = 64) -> tuple[list[Frame], str]:
    reader = Pcap(content[at : at + size] for at in range(0, len(content), size))
    return list(reader), reader.broken


def plain(found: Sequence[Frame]) -> list[tuple[int, bytes]]:
    return [(round(frame.ts * 1e6), frame.data) for frame in found]


def pcapng(packets: Sequence[tuple[int, bytes]], order: str) -> bytes:
    return section(order=order) + b"".join(packet(number % 2, *each, order) for number, each in enumerate(packets))


@given(PACKETS, ORDERS, st.booleans(), st.integers(1, 200))
def test_pcap_as_another_reader_reads_it(packets: list[tuple[int, bytes]], order: str, nano: bool, size: int) -> None:
    content = pcap(packets, order, nano=nano)
    found, broken = frames(content, size)
    other = [(round(float(ts) * 1e6), data) for ts, data in dpkt.pcap.Reader(io.BytesIO(content))]
    assert plain(found) == other == packets
    assert not broken
    assert {frame.link for frame in found} <= {101}


@given(PACKETS, ORDERS, st.integers(1, 200))
def test_pcapng_as_another_reader_reads_it(packets: list[tuple[int, bytes]], order: str, size: int) -> None:
    content = pcapng(packets, order)
    found, broken = frames(content, size)
    other = [(round(float(ts) * 1e6), data) for ts, data in dpkt.pcapng.Reader(io.BytesIO(content))]
    assert plain(found) == other == packets
    assert [frame.interface for frame in found] == [number % 2 for number in range(len(packets))]
    assert not broken


@given(st.binary(max_size=300), st.sampled_from([b"", pcap([]), pcap([], ">"), section(), section(order=">")]))
def test_any_bytes_are_read_to_an_end(noise: bytes, start: bytes) -> None:
    once, whole = frames(start + noise, 1000), frames(start + noise, 7)
    assert once == whole


@given(PACKETS, ORDERS, st.booleans(), st.data())
def test_a_capture_that_was_cut_gives_what_there_is_and_says_so(
    packets: list[tuple[int, bytes]], order: str, modern: bool, data: st.DataObject
) -> None:
    make = pcapng if modern else pcap
    whole = make(packets, order)
    cut = data.draw(st.integers(1, len(whole) - 1))
    found, broken = frames(whole[:cut])
    assert plain(found) == packets[: len(found)]
    ends = {len(make(packets[:number], order)) for number in range(len(packets) + 1)}
    # A pcapng may also end behind its first blocks.
    ends |= {len(section(number, order)) for number in (0, 1)} if modern else set()
    assert bool(broken) == (cut not in ends)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"abc", "too short"),
        (b"not a capture", "does not begin"),
        (section() + b"\6\0\0\0\1\0\0\0" + bytes(4), "impossible length"),
        (section() + b"\6\0\0\0" + (MAX_BLOCK + 4).to_bytes(4, "little") + bytes(4), "impossible length"),
        (section(1) + packet(1, 5, b"x"), "unknown interface"),
        (pcap([]) + bytes(8) + b"\xff" * 8, "longer than packets are"),
        (pcap([(1, b"abc")])[:-1], "in the middle"),
        (section() + packet(0, 1, b"abcd")[:-1], "in the middle"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, why: str) -> None:
    assert why in frames(content)[1]


def test_blocks_that_hold_no_packet_are_passed_over_and_a_section_begins_anew() -> None:
    content = section() + block(10, b"secrets") + packet(1, 7, b"a") + section(1, ">") + packet(0, 8, b"b", ">")
    found, broken = frames(content)
    assert plain(found) == [(7, b"a"), (8, b"b")]
    assert not broken


def test_times_count_as_the_interface_says() -> None:
    head = section(0)
    option = b"\x09\0\1\0\x09\0\0\0" + bytes(4)
    nano = block(1, b"\x65\0\0\0\0\0\0\0" + option)
    (frame,), _ = frames(head + nano + packet(0, 1_500_000_000, b"x"))
    assert frame.ts == pytest.approx(1.5)
    half = block(1, b"\x65\0\0\0\0\0\0\0" + b"\x09\0\1\0\x81\0\0\0" + bytes(4))
    (frame,), _ = frames(head + half + packet(0, 3, b"x"))
    assert frame.ts == pytest.approx(1.5)


def test_a_packet_without_a_time_is_one() -> None:
    (frame,), _ = frames(section(1) + block(3, b"\5\0\0\0hello"))
    assert frame == Frame(0.0, 0, 101, 5, b"hello")
