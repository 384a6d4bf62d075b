"""The capture as a second witness of what the gateway tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from collector import gateway
from collector.analyse import analyse
from collector.bundle import Bundle
from collector.capture import CAPTURE, Witness, witness
from collector.records import CaptureRecord, ConnectionRecord, LossRecord
from collector.sigma.rule import RuleSet
from tests.collector.bundles import START, compressed, end_of, records, write_bundle
from tests.collector.captures import ipv4, ipv6, packet, section, syn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PORTS = (61001, 61053)


def connection(number: int) -> ConnectionRecord:
    return ConnectionRecord(ts=START, conn=number, peer_port=4000 + number, ip="203.0.113.9", port=80, protocol="raw")


def told(*items: msgspec.Struct, packets: int) -> list[msgspec.Struct]:
    return [*items, CaptureRecord(ts=START, packets=packets, omitted=0, ports=PORTS)]


def capture(*packets: bytes) -> bytes:
    return section() + b"".join(packet(1, 1, data) for data in packets)


def seen(content: bytes, items: Sequence[msgspec.Struct]) -> Witness:
    lines = records([*items, end_of(items)]).splitlines()
    return witness([content], gateway.read(lines))


def to_gateway(port: int, number: int = 1) -> bytes:
    return ipv4(6, "203.0.113.9", "127.0.0.1", syn(port, PORTS[0], number))


def test_connections_that_were_dialled_and_told_agree() -> None:
    content = capture(to_gateway(4001), to_gateway(4001), to_gateway(4002), ipv6(6, syn(4003, PORTS[1])))
    found = seen(content, told(connection(1), connection(2), connection(3), packets=4))
    assert (found.report.dialled, found.report.answered) == (3, 3)
    assert not found.gaps


def test_a_connection_that_nobody_tells_of_is_a_gap() -> None:
    found = seen(capture(to_gateway(4001), to_gateway(4001, 2)), told(connection(1), packets=2))
    assert found.gaps == ("1 connection was dialled that the gateway does not tell of",)
    lost = LossRecord(ts=START, name="connections", limit=1, count=1)
    assert not seen(capture(to_gateway(4001), to_gateway(4002)), told(connection(1), lost, packets=2)).gaps


def test_what_goes_past_the_gateway_is_counted() -> None:
    content = capture(
        ipv4(6, "127.0.0.1", "127.0.0.1", syn(4001, 8080, 1)),
        ipv4(6, "127.0.0.1", "127.0.0.1", syn(4002, 8080, 2), options=b"\1\1\1\1"),
        ipv6(6, syn(4003, 9090)),
        ipv6(0, b"\6\0\0\0\0\0\0\0" + syn(4004, 9090)),
        ipv4(6, "127.0.0.1", "127.0.0.1", syn(4001, 8080, 9, flags=0x12)),
        ipv4(1, "203.0.113.9", "203.0.113.9", b"\x08\0ping"),
        ipv4(17, "127.0.0.1", "127.0.0.1", bytes(9)),
        ipv4(132, "203.0.113.9", "203.0.113.9", bytes(9)),
        b"\xff",
        b"",
        b"\x45",
    )
    report = seen(content, told(packets=11)).report
    assert [(peer.ip, peer.port, peer.count) for peer in report.local] == [("::1", 9090, 2), ("127.0.0.1", 8080, 2)]
    assert report.protocols == {"-1": 3, "132": 1, "icmp": 1, "udp": 1}


@pytest.mark.parametrize("content", [b"", capture(to_gateway(1)), capture(to_gateway(1), to_gateway(2))[:-3], b"junk"])
def test_another_capture_or_part_of_one_is_a_gap(content: bytes) -> None:
    (gap,) = seen(content, told(connection(1), connection(2), packets=2)).gaps
    assert "capture" in gap


def _report(path: Path, extra: dict[str, bytes], items: Sequence[msgspec.Struct]) -> dict[str, Any]:
    bundle = Bundle.open(write_bundle(path, extra=extra, gateway=items))
    report: dict[str, Any] = msgspec.to_builtins(analyse(bundle, RuleSet((), "c" * 64)))
    return report


def test_a_report_shows_it_and_an_older_bundle_has_none(tmp_path: Path) -> None:
    content = {CAPTURE: compressed(capture(to_gateway(4001)))}
    new = _report(tmp_path / "new", content, told(connection(1), packets=1))
    assert new["capture"]["dialled"] == 1
    assert not any("capture" in reason for reason in new["reasons"])
    odd = _report(tmp_path / "odd", content, told(packets=1))
    assert any("does not tell of" in reason for reason in odd["reasons"])
    assert _report(tmp_path / "old", {}, ())["capture"] is None
