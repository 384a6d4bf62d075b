from __future__ import annotations

from typing import TYPE_CHECKING

from collector.records import ConnectionRecord, HttpRecord, RawRecord, TlsRecord

if TYPE_CHECKING:
    from .conftest import Pod

CONNECT = (
    "context = ssl.create_default_context(cafile=CA)\n"
    "def dial(name, ip='192.0.2.7', port=443):\n"
    "  return context.wrap_socket(socket.create_connection((ip, port)), server_hostname=name)\n"
)


def test_bodies_inside_tls_are_seen(pod: Pod) -> None:
    assert pod.curl("https://collect.test/api", "-H", "Accept: application/json", "-d", '{"k":1}') == b"{}"
    (request,) = pod.records(HttpRecord)
    assert (request.tls, request.host, request.body) == (True, "collect.test", b'{"k":1}')
    (hello,) = pod.records(TlsRecord)
    assert (hello.sni, hello.completed, hello.error) == ("collect.test", True, "")
    assert "h2" in hello.alpn
    assert pod.records(ConnectionRecord)[0].protocol == "tls"


def test_a_client_that_rejects_our_certificate(pod: Pod) -> None:
    assert b"certificate" in pod.run("curl", "-sS", "--cacert", "/dev/null", "https://pinned.test/")
    pod.python(
        "for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):\n"
        "  context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "  context.minimum_version = context.maximum_version = version\n"
        "  try: context.wrap_socket(socket.create_connection(('192.0.2.7', 443)), server_hostname='strict.test')\n"
        "  except ssl.SSLError: pass\n",
    )
    rejected = pod.records(TlsRecord, lambda record: record.sni == "strict.test", count=2)
    assert [record.completed for record in rejected] == [False, False]
    assert all("UNKNOWN_CA" in record.error for record in rejected)
    assert [record.completed for record in pod.records(TlsRecord, lambda record: record.sni == "pinned.test")] == [
        False
    ]


def test_certificates_for_odd_names(pod: Pod) -> None:
    names = ["192.0.2.7", "x" * 60 + "." + "y" * 60 + ".test", "under_score.test"]
    for name in names:
        pod.python(f"{CONNECT}context.check_hostname = {name[:1] != 'u'}\ns = dial({name!r})\ns.close()\n")
    hellos = pod.records(TlsRecord, count=3)
    assert [hello.completed for hello in hellos] == [True] * 3
    # An address is no server name: the certificate was made for what was dialled.
    assert [hello.sni for hello in hellos] == ["", *names[1:]]


def test_a_hostile_server_name(pod: Pod) -> None:
    pod.python(
        "incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()\ncontext = ssl._create_unverified_context()\n"
        "tls = context.wrap_bio(incoming, outgoing, server_hostname='aaaaaaaaaa')\n"
        "try: tls.do_handshake()\nexcept ssl.SSLWantReadError: pass\n"
        "s = socket.create_connection(('192.0.2.7', 443))\n"
        "s.sendall(outgoing.read().replace(b'aaaaaaaaaa', b'../\\xff\\0\\n\\'\"ab'))\ns.recv(9999)\n",
    )
    (hello,) = pod.records(TlsRecord)
    assert hello.sni == "../\\xff\x00\n'\"ab"


def test_a_hello_in_small_pieces(pod: Pod) -> None:
    answer = pod.python(
        "incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()\ncontext = ssl.create_default_context(cafile=CA)\n"
        "tls = context.wrap_bio(incoming, outgoing, server_hostname='slow.test')\n"
        "s = socket.create_connection(('192.0.2.7', 443))\ns.setsockopt(6, 1, 1)\n"
        "def pump(step):\n"
        "  while True:\n"
        "    try: return step()\n"
        "    except ssl.SSLWantReadError:\n"
        "      data = outgoing.read()\n"
        "      for at in range(0, len(data), 50): s.sendall(data[at:at + 50]); time.sleep(.005)\n"
        "      incoming.write(s.recv(9999))\n"
        "pump(tls.do_handshake)\ntls.write(b'GET /x HTTP/1.0\\r\\n\\r\\n')\n"
        "sys.stdout.write(pump(lambda: tls.read(99)).decode())\n",
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert pod.records(TlsRecord)[0].sni == "slow.test"


def test_raw_bytes_inside_tls_on_an_odd_port(pod: Pod) -> None:
    pod.python(f"{CONNECT}s = dial('c2.test', port=9443)\ns.sendall(b'beacon')\ns.close()\n")
    (raw,) = pod.records(RawRecord)
    assert raw.payload == b"beacon"
    assert pod.records(TlsRecord)[0].completed


def test_what_only_pretends_to_be_tls_is_raw(pod: Pod) -> None:
    payload = b"\\x16\\x03\\x01\\x00\\x10not a hello at all: secret"
    pod.python(f"s = socket.create_connection(('192.0.2.7', 443))\ns.sendall(b'{payload.decode()}')\ns.close()\n")
    (raw,) = pod.records(RawRecord)
    assert raw.payload.endswith(b"secret")


def test_half_a_hello_is_kept(pod: Pod) -> None:
    pod.python("s = socket.create_connection(('192.0.2.7', 443))\ns.sendall(b'\\x16\\x03\\x01\\x02\\x00\\x01\\x00')\n")
    assert pod.records(RawRecord)[0].size == 7
    assert pod.records(ConnectionRecord)[0].protocol == "tls"


def test_the_chain_stands_a_strict_check(pod: Pod) -> None:
    out = pod.python(
        f"{CONNECT}context.verify_flags |= ssl.VERIFY_X509_STRICT\n"
        "for name in ('chain.test', 'under.the.same.authority.test'):\n"
        "  with dial(name) as s: print(dict(s.getpeercert()['subjectAltName']))\n",
    )
    assert out.decode().splitlines() == ["{'DNS': 'chain.test'}", "{'DNS': 'under.the.same.authority.test'}"]
