"""The capture holds what was said, with the keys to read it, and what passed the interface unrecorded."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import dpkt

from collector import gateway
from collector.capture import Witness, witness
from collector.records import CaptureRecord, ConnectionRecord, DatagramRecord, DnsRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.gateway.conftest import Pod

SECRETS = 10


def content_of(pod: Pod) -> bytes:
    pod.stop()
    return (pod.directory / "capture.pcapng").read_bytes()


def seen(pod: Pod) -> Witness:
    content = content_of(pod)
    return witness([content], gateway.read(pod.records_path.read_bytes().splitlines()))


def packets(content: bytes) -> list[Any]:
    return [
        (dpkt.ip.IP if data[0] >> 4 == 4 else dpkt.ip6.IP6)(data) for _, data in dpkt.pcapng.Reader(io.BytesIO(content))
    ]


def secrets(content: bytes) -> bytes:
    """What the blocks with keys hold."""
    found, at = b"", 0
    while at < len(content):
        kind, size = (int.from_bytes(content[at + 4 * n : at + 4 * n + 4], "little") for n in (0, 1))
        if kind == SECRETS:
            found += content[at + 16 : at + 16 + int.from_bytes(content[at + 12 : at + 16], "little")]
        at += size
    return found


def said(content: bytes, port: int, *, to_port: bool) -> bytes:
    """The bytes of all segments to or from a port, in their order."""
    segments = [packet.data for packet in packets(content) if isinstance(packet.data, dpkt.tcp.TCP)]
    return b"".join(segment.data for segment in segments if (segment.dport if to_port else segment.sport) == port)


def test_both_directions_are_there_as_the_client_meant_them(pod: Pod) -> None:
    pod.curl("http://203.0.113.9:8080/a", "--data", "what was sent")
    pod.curl("http://[2001:db8::9]:8081/b")
    content = content_of(pod)
    assert b"POST /a HTTP/1.1" in said(content, 8080, to_port=True)
    assert said(content, 8080, to_port=True).endswith(b"what was sent")
    assert said(content, 8080, to_port=False).startswith(b"HTTP/1.1 200")
    ends = {(packet.src, packet.dst) for packet in packets(content) if isinstance(packet, dpkt.ip6.IP6)}
    ours, theirs = bytes.fromhex("20010db8" + "0" * 23 + "1"), bytes.fromhex("20010db8" + "0" * 23 + "9")
    assert {(ours, theirs), (theirs, ours)} <= ends
    for record in pod.records(ConnectionRecord):
        assert len(said(content, record.port, to_port=True)) == record.received
        assert len(said(content, record.port, to_port=False)) == record.sent


def test_the_keys_of_tls_stand_before_what_they_decrypt(pod: Pod) -> None:
    pod.curl("https://files.example/secret", "--data", "hidden")
    content = content_of(pod)
    assert b"hidden" not in content
    hello = said(content, 443, to_port=True)
    random = hello[11:43].hex()
    keys = secrets(content).decode()
    assert random in keys
    assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= {line.split()[0] for line in keys.splitlines()}
    last_key, last_data = content.rindex(b"CLIENT_TRAFFIC_SECRET_0"), content.rindex(hello[-20:])
    assert last_key < last_data
    assert not list(pod.directory.glob("*.keys"))


def test_questions_and_answers_are_there(pod: Pod) -> None:
    pod.python("socket.getaddrinfo('name.example', 80, socket.AF_INET)")
    (record, *_) = pod.records(DnsRecord)
    messages = [packet.data for packet in packets(content_of(pod)) if isinstance(packet.data, dpkt.udp.UDP)]
    asked = dpkt.dns.DNS(messages[0].data)
    answered = dpkt.dns.DNS(messages[1].data)
    assert asked.qd[0].name == answered.qd[0].name == record.name == "name.example"
    assert (messages[0].dport, messages[1].sport, messages[0].sport) == (53, 53, messages[1].dport)


def test_records_and_packets_agree(pod: Pod) -> None:
    pod.python(
        """
for number in range(5):
    socket.create_connection(("203.0.113.9", 1000 + number)).close()
socket.create_connection(("2001:db8::9", 80)).close()
"""
    )
    pod.records(ConnectionRecord, count=6)
    found = seen(pod)
    assert (found.report.dialled, found.report.answered) == (6, 6)
    assert not found.gaps


def test_what_nobody_records_is_in_the_capture(pod: Pod) -> None:
    pod.python(
        """
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.socket(family) as server:
        server.bind((host, 8123))
        server.listen()
        if family == socket.AF_INET:
            client = socket.socket()
            client.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 1, 1, 0]))
            client.connect((host, 8123))
        else:
            socket.create_connection((host, 8123)).close()
    with socket.socket(family, socket.SOCK_DGRAM) as local:
        local.sendto(b"to ourselves", (host, 9999))
"""
    )
    found = seen(pod)
    assert [(peer.ip, peer.port) for peer in found.report.local] == [("::1", 8123), ("127.0.0.1", 8123)]
    assert found.report.protocols.get("udp") == 2
    assert not pod.records(DatagramRecord, count=0)
    assert not found.gaps


def test_it_is_bounded_and_says_what_it_lacks(start: Callable[..., Pod]) -> None:
    pod = start(limits={"capture_bytes": 2000, "body_bytes": 4096})
    pod.curl("http://203.0.113.9:8080/", "--data", "x" * 9000)
    pod.stop()
    (record,) = pod.records(CaptureRecord)
    assert record.omitted > 0
    assert (pod.directory / "capture.pcapng").stat().st_size < 4000
    found = seen(pod)
    assert found.report.omitted == record.omitted
    assert not found.gaps


def test_keys_count_and_do_not_pile_up(start: Callable[..., Pod]) -> None:
    pod = start(limits={"capture_bytes": 9000})
    for number in range(6):
        pod.curl(f"https://{number}.example/")
    pod.records(ConnectionRecord, count=6)
    (keys,) = pod.directory.glob("*.keys")
    assert keys.stat().st_size < 3000
    content = content_of(pod)
    assert 0 < secrets(content).count(b"CLIENT_TRAFFIC_SECRET_0") < 6
    assert len(content) <= 9200


def test_of_long_messages_the_beginning_is_kept_and_the_length_told(start: Callable[..., Pod]) -> None:
    pod = start(limits={"body_bytes": 4096})
    pod.curl("http://203.0.113.9:8080/", "-H", "Expect:", "--data", "x" * 90_000)
    content = content_of(pod)
    segments = [packet for packet in packets(content) if isinstance(packet.data, dpkt.tcp.TCP)]
    kept = [segment for segment in segments if segment.data.dport == 8080]
    assert len(said(content, 8080, to_port=True)) == 4096
    (record,) = pod.records(ConnectionRecord)
    assert sum(segment.len - 40 for segment in kept) == record.received
