"""Runs are found and explained from their evidence, and the evidence is given away as it is."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collector.analyse import analyse
from collector.bundle import Bundle
from collector.report import to_json
from collector.store import rows
from sandbox.database import writing
from sandbox.reporting import Form, Reports
from sandbox.rules_commands import load_rules
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from collector.report import Report
    from tests.sandbox.api.conftest import Offered

BUNDLE = Path(__file__).parents[2] / "golden/bundles/import-dns-exfil"


@pytest.fixture(scope="module")
def report() -> Report:
    return analyse(Bundle.open(BUNDLE), load_rules())


def stored(api: Offered, bundle: Path) -> tuple[str, Report]:
    """A run whose evidence is stored and whose rows are written, as a worker leaves it."""
    made = analyse(Bundle.open(bundle), load_rules())
    api.service.evidence.put(bundle)
    with writing(api.service.engine) as connection:
        rows.write(connection, rows.rows(made))
    return made.manifest.run, made


@pytest.fixture
def run(api: Offered) -> str:
    return stored(api, BUNDLE)[0]


@pytest.fixture
def submission(api: Offered, run: str, report: Report) -> str:
    submission = api.submitted().id
    api.finish(api.run(submission), state="done", run=run, sha256=report.package.sha256, verdict=report.verdict)
    return submission


@ON_BOTH
def test_the_report_is_the_collectors_to_the_byte(api: Offered, submission: str, run: str, report: Report) -> None:
    with api.client("submit") as client:
        answer = client.get(f"/submissions/{submission}/report")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == to_json(report)
        tag = answer.headers["etag"]
        assert client.get(f"/submissions/{submission}/report", headers={"If-None-Match": tag}).status_code == 304
        text = client.get(f"/submissions/{submission}/report", params={"format": "text"})
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        assert "malicious" in text.text.lower()
        assert "\x1b" not in text.text
        assert client.get(f"/submissions/{submission}/report", params={"format": "pdf"}).status_code == 422
    with api.client("analyst") as client:
        assert client.get(f"/runs/{run}/report").content == to_json(report)


def test_who_asks_for_the_same_report_meanwhile_waits_for_it(api: Offered, run: str) -> None:
    made: list[str] = []

    class Counted(Reports):
        async def _make(self, run: str, form: Form) -> bytes:
            made.append(form)
            return await super()._make(run, form)

    async def ask() -> list[bytes]:
        reports = Counted(api.service.configuration.evidence, api.service.rules_sha256)
        return await asyncio.gather(*(reports.get(run, form) for form in ("json", "text") for _ in range(8)))

    told = asyncio.run(ask())
    assert sorted(made) == ["json", "text"]
    assert len(set(told)) == 2


def test_the_evidence_is_the_bundle(api: Offered, submission: str, run: str) -> None:
    with api.client("analyst") as client:
        answer = client.get(f"/runs/{run}/evidence")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"] == f'attachment; filename="fumehood-{run}.zip"'
        assert client.get(f"/submissions/{submission}/evidence").content == answer.content
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        held = {name.removeprefix(f"{run}/"): archive.read(name) for name in archive.namelist()}
    assert held == {
        path.relative_to(BUNDLE).as_posix(): path.read_bytes() for path in BUNDLE.rglob("*") if path.is_file()
    }


def test_nothing_is_said_from_damaged_evidence(api: Offered, submission: str) -> None:
    [bait] = Path(api.service.configuration.evidence).rglob("bait.json")
    bait.chmod(0o600)
    bait.write_bytes(bait.read_bytes().replace(b'"', b"'", 1))
    with api.client("analyst") as client:
        for part in ("report", "evidence"):
            answer = client.get(f"/submissions/{submission}/{part}")
            assert answer.status_code == 500
            assert answer.json()["type"] == "urn:fumehood:problem:evidence-damaged"


@ON_BOTH
def test_evidence_that_is_gone_is_told(api: Offered, submission: str, run: str) -> None:
    api.service.evidence.delete(run)
    with api.client("analyst") as client:
        for path in (f"/submissions/{submission}/report", f"/runs/{run}/report", f"/runs/{run}/evidence"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:fumehood:problem:no-evidence")
        assert client.get(f"/runs/{run}").status_code == 200


@ON_BOTH
def test_what_has_not_ended_has_no_report(api: Offered) -> None:
    submission = api.submitted().id
    with api.client("submit") as client:
        answer = client.get(f"/submissions/{submission}/report")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:fumehood:problem:no-run")
    assert "still waits" in answer.json()["detail"]


@ON_BOTH
def test_runs_are_found_and_shown(api: Offered, run: str, report: Report) -> None:
    with api.client("analyst") as client:

        def found(**wanted: str) -> list[str]:
            answer = client.get("/runs", params=wanted)
            assert answer.status_code == 200, answer.text
            return [item["run"] for item in answer.json()["items"]]

        assert found() == found(package=report.package.name) == found(verdict="malicious") == [run]
        assert found(package="pkg:pypi/nothing") == found(verdict="clean") == found(rule="nothing") == []
        assert found(rule=report.findings[0].name, sha256=report.package.sha256) == [run]
        for wrong in ({"package": "pkg:x"}, {"cursor": "x"}, {"version": "1.0"}):
            assert client.get("/runs", params=wrong).status_code == 400
        shown = client.get(f"/runs/{run}").json()
        assert [finding["name"] for finding in shown["findings"]] == [finding.name for finding in report.findings]
        assert shown["verdict"] == "malicious"
        assert shown["indicators"]


@ON_BOTH
def test_labels_are_given_and_taken(api: Offered, run: str) -> None:
    with api.client("analyst") as client:
        given = client.put(f"/runs/{run}/labels/reported", json={"note": "to the index, \x1b[31m"})
        assert given.status_code == 200
        assert given.json()["author"] == "some-analyst"
        [label] = client.get(f"/runs/{run}").json()["labels"]
        assert label["label"] == "reported"
        assert [item["run"] for item in client.get("/runs", params={"label": "reported"}).json()["items"]] == [run]
        assert client.put(f"/runs/{run}/labels/UPPER").status_code == 422
        assert client.put("/runs/00000000/labels/reported").status_code == 404
        assert client.delete(f"/runs/{run}/labels/reported").status_code == 204
        assert client.delete(f"/runs/{run}/labels/reported").status_code == 404
        assert client.get(f"/runs/{run}").json()["labels"] == []


def test_a_report_is_what_its_schema_says(api: Offered, submission: str) -> None:
    schema = json.loads((Path(__file__).parents[3] / "docs/report.schema.json").read_bytes())
    with api.client("submit") as client:
        made = client.get(f"/submissions/{submission}/report").json()
    assert set(schema["$defs"]["Report"]["required"]) == set(made)
