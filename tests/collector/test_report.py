"""The JSON report: its schema, its bounds, its stability, and nothing in it that must not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from collector.compose import compose
from collector.manifest import Coverage, LimitHit, Phase
from collector.redact import mark
from collector.report import Report, schema, to_json
from collector.resources import read_samples
from collector.verdict import decide
from tests.collector.bundles import AWS_VALUE, BAITS, SSH_VALUE, START, make_manifest, make_phases
from tests.collector.reports import make_events, make_finding, make_report, make_timeline

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "report.schema.json"
HOSTILE = "\x00\x07\x1b[31mred\x7f\x9b2J\u202eevil\u2066\u200b\ufeff\U000e0041"

SENT = f'tls=true port=443 body={json.dumps(SSH_VALUE)} user_agent={json.dumps(HOSTILE)} bait=["ssh-private-key/plain"]'
BUSY = (
    'install installer 10 process.exec image=/usr/bin/python argv=["python","pip"] parent=2',
    "install target 11 process.start parent=10",
    f"install target 11 process.exec image=/bin/sh parent=10 argv={json.dumps(['sh', '-c', f'echo {AWS_VALUE}'])}",
    f"install target 11 dns.query name={AWS_VALUE.lower()[:40]}.c.test",
    f"install target 11 http.request method=POST host=c.test target=/?k={AWS_VALUE} size=9 {SENT}",
    "install target 11 tls.hello ip=192.0.2.1 sni=c.test",
    f"install target 11 network.payload ip=192.0.2.2 port=99 payload={json.dumps(HOSTILE + AWS_VALUE)} size=50",
    f"install target 11 file.write path=/tmp/{AWS_VALUE}",
)


def busy_report() -> Report:
    events = make_events(*BUSY)
    coverage = Coverage(unit="module", planned=2, reached=2, failed=(f"mod_{AWS_VALUE}",))
    phases = make_phases(
        import_=Phase(
            name="import",
            status="timed-out",
            reason=f"timed out {AWS_VALUE}",
            started=START,
            ended=START + 1.23456,
            argv=("x",),
            trace="traces/import.strace.zst",
            coverage=coverage,
        )
    )
    finding = make_finding("critical", evidence=events, why="It matters.")
    return make_report(*BUSY, findings=[finding], manifest=make_manifest(phases))


@pytest.fixture(name="document")
def make_document() -> Any:
    return json.loads(to_json(busy_report()))


def test_the_schema_file_is_current() -> None:
    expected = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    assert SCHEMA_FILE.read_text() == expected, f"write collector.report.schema() to {SCHEMA_FILE}"


def measured_report() -> Report:
    """One with limits and with resources."""
    hits = (
        LimitHit(name="output", what="stderr", limit=1024, seen=2048, lost=1024, unit="bytes"),
        LimitHit(name="cpu", limit=600, seen=601, unit="seconds", ended=True),
        LimitHit(name="output", what=AWS_VALUE + HOSTILE, limit=1024, seen=2048, lost=1024, unit="bytes"),
    )
    (usual,) = (phase for phase in make_phases() if phase.name == "install")
    manifest = make_manifest(make_phases(install=msgspec.structs.replace(usual, limits=hits)))
    at = usual.started + 1
    line = f'{{"ts": {at}, "phase": "install", "processes": 2, "cpu_seconds": 1.5, "rss_bytes": 4096}}'
    timeline = msgspec.structs.replace(
        make_timeline(manifest),
        resources=read_samples([line.encode()], manifest.phases),
        gateway_hits={
            "install": (LimitHit(name="connections", limit=4, seen=9, lost=5, unit="connections"),),
        },
    )
    verdict = decide((), manifest, timeline)
    return compose(
        manifest=manifest, bait=BAITS, timeline=timeline, findings=(), verdict=verdict, rules_digest="c" * 64
    )


def test_limits_and_resources_of_a_phase() -> None:
    report = json.loads(to_json(measured_report()))
    (phase,) = (phase for phase in report["phases"] if phase["name"] == "install")
    assert [(hit["name"], hit["seen"], hit["ended"]) for hit in phase["limits"]] == [
        ("connections", 9, False),
        ("cpu", 601, True),
        ("output", 2048, False),
        ("output", 2048, False),
    ]
    assert phase["resources"] == {
        "samples": 1,
        "peak_rss_bytes": 4096,
        "peak_processes": 2,
        "cpu_seconds": 1.5,
        "read_bytes": 0,
        "written_bytes": 0,
        "curve": [{"seconds": 1.108, "rss_bytes": 4096, "processes": 2, "cpu_seconds": 1.5}],
    }
    assert AWS_VALUE not in to_json(measured_report()).decode()
    (other,) = (phase for phase in report["phases"] if phase["name"] == "import")
    assert (other["limits"], other["resources"]) == ([], None)


@pytest.mark.parametrize("report", [busy_report(), make_report(), measured_report()], ids=["busy", "empty", "measured"])
def test_reports_validate(report: Report) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    validator.validate(json.loads(to_json(report)))


def test_the_schema_refuses_what_is_no_report(document: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    for change in ({"verdict": "fine"}, {"schema": "fumehood.report/2"}, {"findings": [{"rule": "x"}]}):
        assert not validator.is_valid(document | change)
    del document["network"]["omitted"]
    assert not validator.is_valid(document)


def test_what_issue_2_asks_for_is_there(document: dict[str, Any]) -> None:
    assert document["schema"] == "fumehood.report/1"
    assert document["verdict"] == "malicious"
    assert document["reasons"][0] == (
        "critical: Something was done (install); proof: ssh-private-key/plain left for c.test"
    )
    assert document["proof"] == ["bait-left"]
    assert document["attack_version"] == "18"
    assert document["package"]["purl"] == "pkg:pypi/thing@1.0"
    (phase,) = (phase for phase in document["phases"] if phase["name"] == "import")
    assert (phase["status"], phase["exit_code"], phase["seconds"]) == ("timed-out", None, 1.235)
    assert phase["trace"] == {
        "file": "traces/import.strace.zst",
        "lines": 100,
        "unparsed": 0,
        "first_unparsed_line": None,
        "truncated": 0,
        "complete": True,
    }
    (finding,) = document["findings"]
    assert finding["attack"] == ["T1041"]
    assert finding["evidence"][0]["source"] == {"file": "traces/install.strace.zst", "line": 1}
    assert finding["evidence"][0]["event"].startswith("install installer 10 process.exec image=/usr/bin/python ")
    assert [len(document["network"][kind]) for kind in ("dns", "http", "tls", "other")] == [1, 1, 1, 1]
    assert document["processes"]["roots"][0]["children"][0]["commands"][0]["image"] == "/bin/sh"
    assert document["events"]["process.exec"] == 2
    assert document["manifest"]["rules_sha256"] == "c" * 64
    assert document["manifest"]["tools"]["strace"] == "6.1"


def test_no_value_of_bait_in_any_place() -> None:
    text = to_json(busy_report()).decode()
    flat = json.dumps(json.loads(text)).lower()
    for bait in BAITS:
        for line in bait.value.splitlines():
            if "-----" not in line:
                assert line.lower() not in flat
                assert line.lower() not in text.lower()
    for place in ("kind", "name", "where"):
        assert all(getattr(bait, place) in text for bait in BAITS)
    # One mark for each place: command, argv, name, target, payload, file, reason, coverage, evidence ...
    assert text.count(mark("aws-secret-access-key")) >= 10
    assert mark("ssh-private-key") in text


def test_json_is_safe_to_print_and_means_the_same() -> None:
    data = to_json(busy_report())
    text = data.decode()
    assert data.endswith(b"}\n")
    assert not [char for char in text if (char < " " and char != "\n") or "\x7f" <= char <= "\x9f"]
    assert not set(text) & set("\u202e\u2066\u200b\ufeff\U000e0041")
    assert json.loads(text)["network"]["http"][0]["user_agent"] == HOSTILE
    assert msgspec.json.decode(data, type=Report) == busy_report()


def test_same_report_same_bytes() -> None:
    assert to_json(busy_report()) == to_json(busy_report())


def test_long_things_are_bounded() -> None:
    coverage = Coverage(unit="module", planned=5000, reached=0, unreached=tuple(f"m{number}" for number in range(5000)))
    (usual,) = (phase for phase in make_phases() if phase.name == "import")
    phases = make_phases(import_=msgspec.structs.replace(usual, coverage=coverage))
    event = make_events(f"import target 1 file.read path=/{'a' * 100_000}")
    report = make_report(findings=[make_finding("low", evidence=event)], manifest=make_manifest(phases))
    assert len(to_json(report)) < 30_000
    (phase,) = (phase for phase in report.phases if phase.name == "import")
    assert phase.coverage is not None
    assert (len(phase.coverage.unreached), phase.coverage.omitted) == (200, 4800)
    assert report.findings[0].evidence[0].event.endswith("… (+98032 characters)")


def test_names_that_are_no_unicode_do_not_break_the_report() -> None:
    report = make_report('import target 1 process.exec image="/bin/\\udce9"')
    node = json.loads(to_json(report))["processes"]["roots"][0]
    assert node["commands"][0]["image"] == "/bin/\\udce9"
