"""From a bundle on disk to the bytes of its report, with the rules as shipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collector.analyse import analyse
from collector.bundle import Bundle
from collector.records import ConnectionRecord, DnsRecord, HttpRecord, LimitRecord, TlsRecord
from collector.report import to_json
from tests.collector.bundles import AWS_VALUE, HOME, write_bundle
from tests.collector.sigma.sigmas import shipped
from tests.collector.traces import COMMANDS, Strace, begins, real_phases

if TYPE_CHECKING:
    import msgspec

    from collector.sigma.rule import RuleSet

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="rules", scope="module")
def shipped_rules() -> RuleSet:
    return shipped()


def quiet_traces() -> dict[str, Strace]:
    """All phases as an innocent package has them."""
    traces = {name: Strace(name) for name, argv in COMMANDS.items() if argv}
    for trace in traces.values():
        trace.read(trace.root, "/etc/ld.so.cache")
    return traces


def texts(traces: dict[str, Strace]) -> dict[str, str]:
    for trace in traces.values():
        trace.exit(trace.root)
    return {name: trace.text() for name, trace in traces.items()}


def stolen(path: Path) -> Path:
    """A bundle of a package that reads the planted AWS credentials at import and posts them."""
    traces = quiet_traces()
    trace = traces["import"]
    child = trace.run(trace.root, "/usr/bin/python3.11", "python", "-c", "x")
    trace.read(child, f"{HOME}/.aws/credentials")
    dialled = trace.connect(child, "198.51.100.7", 443)
    trace.exit(child)
    gateway: list[msgspec.Struct] = [
        DnsRecord(
            ts=dialled - 0.0005,
            peer_port=5353,
            transport="udp",
            name="collect.test",
            qtype="A",
            answers=("198.51.100.7",),
        ),
        TlsRecord(ts=dialled + 0.0001, conn=1, sni="collect.test"),
        HttpRecord(
            ts=dialled + 0.0002,
            conn=1,
            tls=True,
            method="POST",
            host="collect.test",
            target="/c",
            body=f"key={AWS_VALUE}".encode(),
            size=4 + len(AWS_VALUE),
            status=200,
        ),
        ConnectionRecord(ts=dialled, conn=1, peer_port=40001, ip="198.51.100.7", port=443, protocol="tls", received=99),
    ]
    return write_bundle(path, phases=real_phases(), traces=texts(traces), gateway=gateway)


def document(path: Path, rules: RuleSet) -> Any:
    return json.loads(to_json(analyse(Bundle.open(path), rules)))


def test_an_innocent_package_is_clean(tmp_path: Path, rules: RuleSet) -> None:
    report = document(write_bundle(tmp_path / "b", phases=real_phases(), traces=texts(quiet_traces())), rules)
    assert (report["verdict"], report["findings"]) == ("clean", [])
    assert report["manifest"]["rules_sha256"] == rules.digest
    assert [root["phase"] for root in report["processes"]["roots"]] == [name for name, argv in COMMANDS.items() if argv]


def test_stolen_bait_is_malicious_and_traceable(tmp_path: Path, rules: RuleSet) -> None:
    bundle = Bundle.open(stolen(tmp_path / "b"))
    report = json.loads(to_json(analyse(bundle, rules)))
    assert report["verdict"] == "malicious"
    (finding,) = (finding for finding in report["findings"] if finding["name"] == "bait-leaves-by-http")
    assert "T1041" in finding["attack"]
    assert (finding["phase"], finding["actor"]) == ("import", "target")
    (evidence,) = finding["evidence"]
    assert "host=collect.test" in evidence["event"]
    lines = list(bundle.lines(evidence["source"]["file"]))
    assert b'"method":"POST"' in lines[evidence["source"]["line"] - 1]
    assert report["network"]["http"][0]["bait"] == ["aws-secret-access-key/plain"]
    assert AWS_VALUE not in json.dumps(report)


def test_the_same_bundle_gives_the_same_bytes_anywhere(tmp_path: Path, rules: RuleSet) -> None:
    here = to_json(analyse(Bundle.open(stolen(tmp_path / "one")), rules))
    stolen(tmp_path / "two" / "elsewhere")
    program = (
        "import sys; from pathlib import Path\n"
        "from collector.analyse import analyse; from collector.bundle import Bundle\n"
        "from collector.report import to_json; from collector.sigma.load import load_rules\n"
        "sys.stdout.buffer.write(to_json(analyse(Bundle.open(Path(sys.argv[1])), load_rules(Path(sys.argv[2])))))"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, str(tmp_path / "two" / "elsewhere"), str(ROOT / "profiles" / "rules")]
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LANG": "C", "PYTHONPATH": str(ROOT)}
        there = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        assert there == here


@pytest.mark.parametrize("damage", ["garbled", "empty", "no-root"])
def test_a_damaged_trace_is_never_clean(tmp_path: Path, rules: RuleSet, damage: str) -> None:
    told = texts(quiet_traces())
    lines = told["startup"].splitlines(keepends=True)
    told["startup"] = {
        "garbled": told["startup"] + '306   1795347430.2 openat(AT_FDCWD</>, "/etc/x\n',
        "empty": "",
        "no-root": "".join(line for line in lines if COMMANDS["startup"][0] not in line),
    }[damage]
    report = document(write_bundle(tmp_path / "b", phases=real_phases(), traces=told), rules)
    assert report["verdict"] == "inconclusive"
    assert "startup" in report["reasons"][0]


def test_an_incomplete_network_record_is_never_clean(tmp_path: Path, rules: RuleSet) -> None:
    limit = LimitRecord(ts=begins("import"), what="connections")
    path = write_bundle(tmp_path / "b", phases=real_phases(), traces=texts(quiet_traces()), gateway=[limit])
    report = document(path, rules)
    assert report["verdict"] == "inconclusive"
    assert report["reasons"] == ["the network record is incomplete: connections"]


def test_nothing_is_imported_that_a_library_must_not() -> None:
    program = "import sys, collector.analyse; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    assert {"collector.analyse"} <= set(done.stdout.split())
    assert not {"sandbox", "httpx2", "click", "rich", "psutil", "docker", "redis"} & set(done.stdout.split())


def test_a_reason_is_as_bounded_as_everything_else(tmp_path: Path, rules: RuleSet) -> None:
    limit = LimitRecord(ts=begins("import"), what="x" * 100_000)
    path = write_bundle(tmp_path / "b", phases=real_phases(), traces=texts(quiet_traces()), gateway=[limit])
    report = document(path, rules)
    assert report["verdict"] == "inconclusive"
    assert all(len(reason) < 5000 for reason in report["reasons"])
