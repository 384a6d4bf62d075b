"""Network attempts: equal ones together, nothing dropped without saying so."""

from __future__ import annotations

import json

import msgspec

from collector.attempts import MOST, AttemptReader, Network
from collector.events import AnyEvent, Source
from collector.readers import show
from collector.redact import Redactor
from collector.text import parse
from tests.collector.bundles import AWS_VALUE, BAITS


def gathered(*lines: str) -> Network:
    events: list[AnyEvent] = [
        msgspec.structs.replace(parse(line), source=Source("gateway.jsonl.zst", number))
        for number, line in enumerate(lines, 1)
    ]
    reader = AttemptReader(Redactor.of(BAITS))
    show(events, [reader])
    return reader.network(unparsed=0, limits=())


def test_equal_attempts_are_counted_once() -> None:
    rows = gathered(
        'import target 7 dns.query name=a.test answers=["192.0.2.1"]',
        'import target 8 dns.query name=a.test answers=["192.0.2.2"]',
        "import target 8 dns.query name=a.test",
        "import target 8 dns.query name=a.test qtype=AAAA",
        "install target 8 dns.query name=a.test",
        "install dependency:x 8 dns.query name=a.test",
    ).dns
    assert [(row.phase, row.actor, row.qtype, row.pid, row.processes, row.count) for row in rows] == [
        ("import", "target", "A", 7, 2, 3),
        ("import", "target", "AAAA", 8, 1, 1),
        ("install", "target", "A", 8, 1, 1),
        ("install", "dependency:x", "A", 8, 1, 1),
    ]
    assert rows[0].source == Source("gateway.jsonl.zst", 1)
    assert rows[0].answers == ("192.0.2.1",)


def test_bodies_are_added_up_bounded_and_redacted() -> None:
    body = json.dumps("x" * 1990 + AWS_VALUE + "y" * 5000)
    line = f"import target 7 http.request method=POST host=a.test target=/?k={AWS_VALUE} size=7000 body={body}"
    (row,) = gathered(line, line).http
    assert (row.count, row.size) == (2, 14_000)
    assert "\u2039bait:" in row.target
    assert len(row.body) < 2100
    assert AWS_VALUE[:10] not in row.body


def test_a_connection_that_another_row_explains_is_left_out() -> None:
    rows = gathered(
        "import target 7 network.connect ip=192.0.2.1 port=443",
        "import target 7 tls.hello ip=192.0.2.1 port=443 sni=a.test",
        "install target 7 network.connect ip=192.0.2.1 port=443",
        "import target 7 network.connect ip=192.0.2.53 port=53 protocol=udp",
        "import target 7 dns.query name=a.test",
        "startup target 7 network.connect ip=192.0.2.53 port=53 protocol=udp",
        "import target 7 network.listen ip=0.0.0.0 port=4444",
        "import target 7 network.unix path=/run/x errno=ENOENT",
        "import target 7 network.payload ip=192.0.2.9 port=99 payload=id size=2",
    ).other
    assert [(row.kind, row.phase, row.port, row.path, row.errno) for row in rows] == [
        ("network.connect", "install", 443, "", ""),
        ("network.connect", "startup", 53, "", ""),
        ("network.listen", "import", 4444, "", ""),
        ("network.unix", "import", 0, "/run/x", "ENOENT"),
        ("network.payload", "import", 99, "", ""),
    ]


def test_a_flood_does_not_hide_what_carried_bait() -> None:
    flood = [f"import target 7 dns.query name=r{number}.test role=registry" for number in range(MOST)]
    flood += [f"import target 7 dns.query name=n{number}.test" for number in range(MOST)]
    found = gathered(*flood, 'import target 7 dns.query name=last.test bait=["token/hex"]')
    assert len(found.dns) == MOST
    assert found.omitted.dns == MOST + 1
    assert found.dns[-1].name == "last.test"
    assert found.dns[0].name == "n0.test"
