"""Gateway records become events: right phase, right process, role only for what deserves it, and the bait found."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import gateway
from collector.bait import BaitScanner
from collector.events import (
    AnyEvent,
    DnsQuery,
    HttpRequest,
    NetworkConnect,
    NetworkPayload,
    NetworkSend,
    Source,
    TlsHello,
)
from collector.network import MAX_TEXT, Explainer, Roles
from collector.owners import wire_name
from collector.records import (
    ConnectionRecord,
    DatagramRecord,
    DnsRecord,
    EndRecord,
    GatewayRecord,
    HttpRecord,
    LimitRecord,
    RawRecord,
    TlsRecord,
)
from collector.syscalls import Send
from tests.collector.bundles import AWS_VALUE, BAITS, START, make_manifest, records
from tests.collector.traces import basic, real_phases

STRANGER = "203.0.113.9"
INDEX = "198.51.100.7"
AT = START + 31.0
"""In phase import."""


def explain(
    *items: GatewayRecord, connects: list[NetworkConnect] | None = None, sends: list[Send] | None = None
) -> list[AnyEvent]:
    log = gateway.read(records(items).splitlines())
    assert log.unparsed == 0
    manifest = make_manifest(real_phases())
    return Explainer(log, manifest, BaitScanner(BAITS), connects or [], sends or []).events()


def dialled(pid: int, ts: float, ip: str = STRANGER, port: int = 443, errno: str = "") -> NetworkConnect:
    return NetworkConnect(phase="import", pid=pid, ts=ts, ip=ip, port=port, errno=errno)


def connection(conn: int, ts: float, ip: str = STRANGER, port: int = 443) -> ConnectionRecord:
    return ConnectionRecord(ts=ts, conn=conn, peer_port=40000 + conn, ip=ip, port=port, protocol="tls")


def request(conn: int = 1, **changed: Any) -> HttpRecord:
    usual = HttpRecord(ts=AT, conn=conn, tls=True, method="GET", host="collect.test", target="/")
    return msgspec.structs.replace(usual, **changed)


def sent(pid: int, ts: float, payload: bytes, ip: str = "192.0.2.53", port: int = 53) -> Send:
    return Send(ts, pid, ip, port, "udp", payload, Source("traces/import.strace.zst", 1))


def question(name: str) -> bytes:
    return bytes(12) + wire_name(name) + b"\0\x01\0\x01"


def only(events: list[AnyEvent]) -> AnyEvent:
    assert len(events) == 1
    return events[0]


def test_a_request_is_told_whole() -> None:
    record = request(
        method="POST",
        target="/c?x=1",
        headers=(("Host", "collect.test"), ("user-agent", "curl/8")),
        body=b"key=\xff" + AWS_VALUE.encode(),
        size=45,
        status=200,
    )
    event = only(explain(connection(1, AT - 0.1), record, connects=[dialled(412, AT - 0.11)]))
    assert event == HttpRequest(
        ts=AT,
        phase="import",
        pid=412,
        source=Source("gateway.jsonl.zst", 2),
        method="POST",
        host="collect.test",
        target="/c?x=1",
        ip=STRANGER,
        port=443,
        tls=True,
        user_agent="curl/8",
        size=45,
        body="key=\\xff" + AWS_VALUE,
        status=200,
        bait=("aws-secret-access-key/plain",),
    )


@pytest.mark.parametrize(
    ("changed", "bait"),
    [
        ({"target": f"/?k={AWS_VALUE}"}, "plain"),
        ({"headers": (("X-K", AWS_VALUE),)}, "plain"),
        ({"headers": (basic("me", AWS_VALUE),)}, "base64"),
        ({"host": AWS_VALUE}, "plain"),
        ({"body": b"\0" * 100_000 + AWS_VALUE.encode()}, "plain"),
    ],
)
def test_bait_is_found_in_every_part_of_a_request(changed: dict[str, Any], bait: str) -> None:
    event = only(explain(request(**changed)))
    assert isinstance(event, HttpRequest)
    assert event.bait == (f"aws-secret-access-key/{bait}",)
    assert len(event.body) <= MAX_TEXT


def test_every_record_belongs_to_the_phase_of_its_moment() -> None:
    times = [START - 5, START + 1, START + 9.9, START + 10, START + 25, START + 31, START + 45, START + 500]
    events = explain(*(DnsRecord(ts=ts, peer_port=1, transport="udp", name="x.test", qtype="A") for ts in times))
    names = ["dependencies", "dependencies", "dependencies", "install", "startup", "import", "exercise", "linger"]
    assert [event.phase for event in events] == names


@pytest.mark.parametrize(
    ("host", "ip", "role"),
    [
        ("index.example", "", "registry"),
        ("INDEX.example.", INDEX, "registry"),
        ("evil-index.example", "", ""),
        ("index.example.evil.test", "", ""),
        ("", "169.254.169.254", "metadata"),
        ("", "::ffff:169.254.169.254", "metadata"),
        ("", "fd00:ec2:0:0::254", "metadata"),
        ("metadata.google.internal", "192.0.2.1", "metadata"),
        ("169.254.170.2", "", "metadata"),
        ("", "100.100.100.200", "metadata"),
        ("metadata", "192.0.2.1", "metadata"),
        ("", "127.0.0.53", "local"),
        ("", "::1", "local"),
        ("localhost", "", "local"),
        ("localhost", STRANGER, ""),
        ("127.evil.test", "", ""),
        ("", "", ""),
    ],
)
def test_roles(host: str, ip: str, role: str) -> None:
    assert Roles(["index.example"]).of(host, ip) == role


def test_no_host_is_never_the_registry() -> None:
    assert Roles(["", "."]).of("", STRANGER) == ""


def test_only_what_the_proxy_answered_is_the_registrys() -> None:
    served = request(host="files.example", served_by="registry")
    posted = request(host="files.example", method="POST")
    events = explain(served, posted, connection(1, AT - 1, INDEX))
    assert [event.role for event in events if isinstance(event, HttpRequest)] == ["registry", ""]


def test_names_of_addresses_come_from_the_latest_answer_before() -> None:
    answers = [
        DnsRecord(ts=AT, peer_port=1, transport="udp", name="files.example", qtype="A", answers=(INDEX,)),
        DnsRecord(ts=AT + 5, peer_port=1, transport="udp", name="evil.test", qtype="A", answers=(INDEX,)),
    ]
    log = gateway.read(records(answers).splitlines())
    explainer = Explainer(log, make_manifest(real_phases()), BaitScanner(BAITS), [], [])
    named = [explainer.named(dialled(1, ts, INDEX)) for ts in (AT - 1, AT + 1, AT + 6)]
    assert [(event.host, event.role) for event in named] == [("", ""), ("files.example", "registry"), ("evil.test", "")]


def test_raw_bytes_to_the_registry_are_not_the_registrys() -> None:
    events = explain(
        DnsRecord(ts=AT, peer_port=1, transport="udp", name="files.example", qtype="A", answers=(INDEX,)),
        connection(1, AT, INDEX, 4444),
        RawRecord(ts=AT + 1, conn=1, payload=AWS_VALUE.encode(), size=42),
        RawRecord(ts=AT + 2, conn=1),
    )
    (payload,) = [event for event in events if isinstance(event, NetworkPayload)]
    assert (payload.host, payload.port, payload.role) == ("files.example", 4444, "")
    assert payload.bait == ("aws-secret-access-key/plain",)


def test_a_hello_tells_whether_it_was_completed_and_carries_bait_in_its_name() -> None:
    name = f"{AWS_VALUE.encode().hex()[:60]}.{AWS_VALUE.encode().hex()[60:]}.evil.test"
    event = only(explain(connection(1, AT), TlsRecord(ts=AT, conn=1, sni=name, completed=False)))
    assert isinstance(event, TlsHello)
    assert (event.ip, event.port, event.completed) == (STRANGER, 443, False)
    assert event.bait == ("aws-secret-access-key/hex",)


def test_bait_in_pieces_over_questions() -> None:
    text = AWS_VALUE.encode().hex()
    names = [f"{number}.{text[at : at + 20]}.evil.test" for number, at in enumerate(range(0, len(text), 20))]
    events = explain(
        *(
            DnsRecord(ts=AT + number / 10, peer_port=1, transport="udp", name=name, qtype=kind)
            for number, name in enumerate(["files.example", *names])
            for kind in ("A", "AAAA")
        )
    )
    found = [event.bait for event in events if isinstance(event, DnsQuery)]
    assert found == [(), ()] + [("aws-secret-access-key/hex",)] * (2 * len(names))


def owners(connects: list[NetworkConnect], accepts: list[float]) -> list[int]:
    conns = [connection(number, ts) for number, ts in enumerate(accepts, 1)]
    requests = [request(number, ts=ts + 0.5) for number, ts in enumerate(accepts, 1)]
    return [event.pid for event in explain(*conns, *requests, connects=connects)]


def test_the_first_accept_goes_to_the_first_connect() -> None:
    assert owners([dialled(1, AT), dialled(2, AT + 0.001)], [AT + 0.01, AT + 0.02]) == [1, 2]


def test_a_connect_without_accept_does_not_shift_the_others() -> None:
    connects = [dialled(1, AT - 8), dialled(2, AT, errno="ECONNREFUSED"), dialled(3, AT + 0.01)]
    assert owners(connects, [AT + 0.02]) == [3]


def test_an_old_connect_is_taken_for_want_of_another() -> None:
    assert owners([dialled(1, AT - 8)], [AT]) == [1]


def test_no_connect_before_means_nobody() -> None:
    assert owners([dialled(1, AT + 1)], [AT]) == [0]
    assert owners([dialled(1, AT, port=80)], [AT + 0.01]) == [0]
    assert owners([], [AT]) == [0]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_as_many_accepts_as_connects_pair_in_order(gaps: list[int]) -> None:
    times, now = [], AT
    for gap in gaps:
        now += gap / 100
        times.append(now)
    connects = [dialled(100 + number, ts) for number, ts in enumerate(times)]
    delayed = [ts + 0.2 for ts in times]
    assert owners(connects, delayed) == [100 + number for number in range(len(times))]


def asked(name: str, sends: list[Send], connects: list[NetworkConnect] | None = None) -> int:
    record = DnsRecord(ts=AT, peer_port=1, transport="udp", name=name, qtype="A")
    return only(explain(record, sends=sends, connects=connects)).pid


def test_a_question_is_of_the_process_that_sent_the_name() -> None:
    sends = [
        sent(1, AT - 0.3, question("other.test")),
        sent(2, AT - 0.2, question("Evil.TEST")),
        sent(3, AT - 0.1, question("other.test")),
        sent(4, AT + 0.1, question("evil.test")),
    ]
    assert asked("evil.test", sends) == 2


def test_a_question_over_tcp_is_found_behind_its_length() -> None:
    assert asked("evil.test", [sent(2, AT - 0.2, b"\0\x20" + question("evil.test")), sent(3, AT - 0.1, b"")]) == 2


def test_a_question_whose_sending_was_not_seen_is_of_the_last_that_spoke_to_a_resolver() -> None:
    resolver = dialled(7, AT - 0.1, "192.0.2.53", 53)
    assert asked("evil.test", [], [dialled(6, AT - 0.5, "192.0.2.53", 53), resolver]) == 7
    assert asked("evil.test", [], [dialled(6, AT - 60, "192.0.2.53", 53)]) == 0
    assert asked("evil.test", []) == 0


@given(st.text("abc.\\x00AZ", max_size=20))
def test_odd_names_never_break(name: str) -> None:
    assert asked(name, [sent(2, AT - 0.2, question(name)), sent(3, AT - 0.1, name.encode())]) in {0, 2, 3}


def test_a_packet_is_of_the_process_that_sent_these_bytes_there() -> None:
    record = DatagramRecord(ts=AT, protocol="udp", ip=STRANGER, port=9999, payload=b"hello", size=5)
    sends = [
        sent(1, AT - 0.3, b"hello", STRANGER, 9999),
        sent(2, AT - 0.2, b"other", STRANGER, 9999),
        sent(3, AT - 0.1, b"hello", STRANGER, 1),
    ]
    event = only(explain(record, sends=sends))
    assert isinstance(event, NetworkPayload)
    assert (event.pid, event.protocol, event.payload) == (1, "udp", "hello")
    assert only(explain(record, sends=sends[1:])).pid == 2
    assert only(explain(record)).pid == 0


def test_lines_that_are_no_record_are_counted() -> None:
    good = msgspec.json.encode(LimitRecord(ts=AT, what="connections"))
    bad = [b"{", b"\xff\xfe", b"[]", b'{"record":"dns"}', b'{"record":"other","ts":1}', b"[" * 100_000]
    end = msgspec.json.encode(EndRecord(ts=AT, records=3))
    log = gateway.read([good, *bad, b"", good, b'{"record":"limit","ts":1,"what":"bodies"}', end])
    assert (log.unparsed, log.limits) == (len(bad), ("bodies", "connections"))


def test_a_record_that_shows_what_it_lacks_is_a_limit() -> None:
    whole = [LimitRecord(ts=AT, what="x"), EndRecord(ts=AT, records=1)]
    assert gateway.read(records(whole).splitlines()).limits == ("x",)
    assert gateway.read([]).limits == ("it stops before the gateway ended",)
    assert gateway.read(records([EndRecord(ts=AT, records=7)]).splitlines()).limits == ("0 of 7 records are there",)
    cut = RawRecord(ts=AT, conn=1, payload=b"x", size=9, truncated=True)
    assert gateway.read(records([cut, EndRecord(ts=AT, records=1)]).splitlines()).limits == (
        "1 message was cut: it is too long",
    )


@pytest.mark.parametrize("count", [0, 3])
def test_an_emptied_record_is_never_whole(count: int) -> None:
    names = [DnsRecord(ts=AT, peer_port=1, transport="udp", name="x.test", qtype="A")] * count
    assert gateway.read(records(names).splitlines()).limits == ("it stops before the gateway ended",)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_line_is_ever_an_error(lines: list[bytes]) -> None:
    assert gateway.read(lines).unparsed <= len(lines)


def test_more_names_than_are_joined_is_a_limit() -> None:
    names = [DnsRecord(ts=AT, peer_port=1, transport="udp", name=f"{n:x}.test", qtype="A") for n in range(4097)]
    log = gateway.read(records([*names, EndRecord(ts=AT, records=len(names))]).splitlines())
    explainer = Explainer(log, make_manifest(real_phases()), BaitScanner([]), [], [])
    assert explainer.limits() == ("names-joined",)


def test_a_message_that_unpacks_to_too_much_is_a_limit() -> None:
    log = gateway.read(records([request(body=zlib.compress(bytes(1 << 20))), EndRecord(ts=AT, records=1)]).splitlines())
    scanner = BaitScanner(BAITS, message_budget=1 << 16)
    explainer = Explainer(log, make_manifest(real_phases()), scanner, [], [])
    assert len(explainer.events()) == 1
    assert explainer.limits() == ("1 message or file unpacks to more than is searched for bait",)


def test_bait_in_pieces_over_requests_packets_and_connections() -> None:
    pieces = [AWS_VALUE[at : at + 15].encode() for at in range(0, len(AWS_VALUE), 15)]
    events = explain(
        *(connection(number, AT, port=4444) for number, _ in enumerate(pieces, 1)),
        *(RawRecord(ts=AT + number, conn=number, payload=piece, size=15) for number, piece in enumerate(pieces, 1)),
        *(request(9, ts=AT + n, target=f"/?n={n}&d={piece.decode()}") for n, piece in enumerate(pieces)),
        *(
            DatagramRecord(ts=AT + n, protocol="udp", ip=STRANGER, port=53530, payload=b"%d:%b" % (n, piece), size=17)
            for n, piece in enumerate(pieces)
        ),
        request(9, ts=AT + 30, target="/done"),
    )
    found = [event.bait for event in events if isinstance(event, HttpRequest | NetworkPayload)]
    assert found.count(("aws-secret-access-key/plain",)) == 3 * len(pieces)
    assert found.count(()) == 1


def test_more_pieces_than_are_put_together_is_a_limit() -> None:
    sent = [RawRecord(ts=AT + n, conn=n, payload=bytes([n]) * (1 << 20), size=1 << 20) for n in range(1, 6)]
    log = gateway.read(records([*sent, EndRecord(ts=AT + 9, records=len(sent))]).splitlines())
    explainer = Explainer(log, make_manifest(real_phases()), BaitScanner(BAITS), [], [])
    assert {event.bait for event in explainer.events() if isinstance(event, NetworkPayload)} == {()}
    assert explainer.limits() == ("more was sent in pieces than is put together to look for bait",)


def test_more_fields_than_are_put_together_are_a_limit() -> None:
    forms = [b"&".join(b"f%d=%d" % (field, n) for field in range(65)) for n in range(2)]
    sent = [
        HttpRecord(ts=AT + n, conn=n + 1, tls=False, method="POST", host="c.test", target="/", body=form)
        for n, form in enumerate(forms)
    ]
    for some, limits in ((sent[:1], ()), (sent, ("more was sent in pieces than is put together to look for bait",))):
        log = gateway.read(records([*some, EndRecord(ts=AT + 9, records=len(some))]).splitlines())
        explainer = Explainer(log, make_manifest(real_phases()), BaitScanner(BAITS), [], [])
        assert len(explainer.events()) == len(some)
        assert explainer.limits() == limits


def named(event: AnyEvent, *items: GatewayRecord, connects: list[NetworkConnect] | None = None) -> AnyEvent:
    log = gateway.read(records(items).splitlines())
    return Explainer(log, make_manifest(real_phases()), BaitScanner(BAITS), connects or [], []).named(event)


def test_a_connect_says_what_went_over_it() -> None:
    first, second = dialled(7, AT), dialled(8, AT)
    heard = msgspec.structs.replace(connection(1, AT + 0.01), received=70, sent=900)
    silent = msgspec.structs.replace(connection(2, AT + 0.02), protocol="silent")
    answer = DnsRecord(ts=AT - 1, peer_port=1, transport="udp", name="collect.test", qtype="A", answers=(STRANGER,))
    told = [named(event, answer, heard, silent, connects=[first, second]) for event in (first, second)]
    # Whoever dialled first has the first accept; two equal moments stay apart.
    expected = {"host": "collect.test", "role": ""}
    assert told == [
        msgspec.structs.replace(first, **expected, said="tls", sent=70, received=900),
        msgspec.structs.replace(second, **expected, said="silent"),
    ]


@pytest.mark.parametrize(
    ("connect", "record", "said"),
    [
        (dialled(7, AT), msgspec.structs.replace(connection(1, AT + 0.01), protocol="smtp"), "raw"),
        (dialled(7, AT, errno="ECONNREFUSED"), connection(1, AT + 0.01), ""),
        (dialled(7, AT, port=80), connection(1, AT + 0.01), ""),
        (dialled(7, AT + 1), connection(1, AT), ""),
    ],
)
def test_a_connect_without_a_connection_says_nothing(connect: NetworkConnect, record: GatewayRecord, said: str) -> None:
    found = named(connect, record, connects=[connect])
    assert isinstance(found, NetworkConnect)
    assert found.said == said


def test_a_packet_is_named_like_a_connect_and_others_are_left_alone() -> None:
    answer = DnsRecord(ts=AT - 1, peer_port=1, transport="udp", name="collect.test", qtype="A", answers=(STRANGER,))
    packet = NetworkSend(phase="import", ts=AT, ip=STRANGER, port=123)
    assert named(packet, answer) == msgspec.structs.replace(packet, host="collect.test")
    other = TlsHello(phase="import", ts=AT, ip=STRANGER)
    assert named(other, answer) is other


def test_answers_are_told_with_what_was_asked() -> None:
    gone = DnsRecord(ts=AT, peer_port=1, transport="udp", name="gone.test", qtype="A", rcode="NXDOMAIN")
    event = only(explain(gone))
    assert isinstance(event, DnsQuery)
    assert (event.rcode, event.answers) == ("NXDOMAIN", ())
    event = only(explain(request(status=404, response_size=14, response_type="text/html; " + "x" * 999)))
    assert isinstance(event, HttpRequest)
    assert (event.status, event.response_size, len(event.response_type)) == (404, 14, 200)
