from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.gateway.packets import ETH_P_IP, ETH_P_IPV6, Packet, parse_packet

SOURCE, TARGET = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("203.0.113.9")
SIX = ipaddress.ip_address("2001:db8::9")
UDP = struct.pack("!4H", 4000, 53, 12, 0) + b"data"


def ipv4(protocol: int, payload: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(payload), 1, fragment, 64, protocol, 0)
    return head + SOURCE.packed + TARGET.packed + options + payload


def ipv6(protocol: int, payload: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + SIX.packed + SIX.packed + payload


def test_udp_in_both_families() -> None:
    expected = Packet(
        protocol="udp", source=str(SOURCE), destination=str(TARGET), source_port=4000, port=53, payload=b"data"
    )
    assert parse_packet(ETH_P_IP, ipv4(17, UDP)) == expected
    assert parse_packet(ETH_P_IP, ipv4(17, UDP, options=b"\1" * 8)) == expected
    assert parse_packet(ETH_P_IP, ipv4(17, UDP) + b"trailing") == expected
    extension = bytes([17, 0]) + b"\0" * 6
    for data in (ipv6(17, UDP), ipv6(60, extension + UDP), ipv6(44, bytes([17]) + b"\0" * 7 + UDP)):
        packet = parse_packet(ETH_P_IPV6, data)
        assert packet is not None
        assert (packet.destination, packet.port, packet.payload) == (str(SIX), 53, b"data")


def test_fragments_have_no_ports() -> None:
    packet = parse_packet(ETH_P_IP, ipv4(17, b"the rest", fragment=185))
    assert packet is not None
    assert (packet.protocol, packet.port, packet.payload) == ("udp", 0, b"the rest")


@pytest.mark.parametrize(
    ("ethertype", "data"),
    [
        (ETH_P_IP, ipv4(6, b"tcp")),
        (ETH_P_IPV6, ipv6(6, b"tcp")),
        (ETH_P_IP, ipv4(1, b"\x03\x03unreachable")),
        (ETH_P_IP, ipv4(1, b"\x00\x00echo reply")),
        (ETH_P_IPV6, ipv6(58, b"\x81\x00echo reply")),
        (ETH_P_IPV6, ipv6(58, b"\x87\x00neighbour")),
    ],
)
def test_what_the_kernel_says_is_left_out(ethertype: int, data: bytes) -> None:
    assert parse_packet(ethertype, data) is None


@pytest.mark.parametrize(
    ("ethertype", "data"),
    [
        (0x0806, b"arp"),
        (ETH_P_IP, b""),
        (ETH_P_IP, ipv4(17, b"abc")),
        (ETH_P_IP, b"\x4f" + bytes(30)),
        (ETH_P_IPV6, b"`"),
    ],
)
def test_cut_off_packets(ethertype: int, data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_packet(ethertype, data)


@given(st.sampled_from([ETH_P_IP, ETH_P_IPV6]), st.binary(max_size=120))
def test_garbage_is_a_value_error_at_most(ethertype: int, data: bytes) -> None:
    for start in (b"", b"\x45", b"\x60"):
        try:
            packet = parse_packet(ethertype, start + data)
        except ValueError:
            continue
        assert packet is None or len(packet.payload) <= len(start + data)
