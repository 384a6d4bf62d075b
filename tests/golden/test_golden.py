"""Bundles of real runs whose reports must not change unless somebody means it, to the byte."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collector.bundle import MANIFEST, Bundle
from tests.collector.sigma.sigmas import shipped
from tests.golden.bless import BUNDLES, REPORTS, made, names
from tests.golden.packages import NAMES
from tests.golden.record import MOST

if TYPE_CHECKING:
    from collector.sigma.rule import RuleSet

EXPECTED = {
    "golden-beacon": ("malicious", "dependency-confusion-beacon"),
    "golden-quiet": ("clean", ""),
    "import-dns-exfil": ("malicious", ""),
    "pth-beacon": ("malicious", ""),
    "reverse-shell": ("malicious", ""),
    "systemd-unit-twin": ("clean", ""),
}
"""Verdict and classification: what no blessing may change."""
RESERVED = re.compile(r"(?:[\w{}.-]+\.)?(?:test|example|invalid|internal)(?::\d+)?|(?:\d+\.){3}\d+(?::\d+)?|localhost")


@pytest.fixture(name="rules", scope="module")
def shipped_rules() -> RuleSet:
    return shipped()


def document(name: str) -> Any:
    return json.loads((REPORTS / f"{name}.json").read_bytes())


def test_there_is_a_report_for_each_bundle_and_a_bundle_for_each_package() -> None:
    assert names() == sorted(NAMES) == sorted(EXPECTED) == sorted(path.stem for path in REPORTS.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_the_same_to_the_byte(name: str, rules: RuleSet) -> None:
    now, expected = made(name, rules), (REPORTS / f"{name}.json").read_bytes()
    if now != expected:
        difference = [key for key, value in json.loads(now).items() if value != document(name).get(key)]
        pytest.fail(f"{', '.join(difference)} changed; if that is meant: python -m tests.golden.bless, then git diff")


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict(name: str) -> None:
    report = document(name)
    assert (report["verdict"], report["classification"]) == EXPECTED[name]
    assert bool(report["proof"]) is (report["verdict"] == "malicious")


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_points_to_a_line_that_is_there(name: str) -> None:
    bundle = Bundle.open(BUNDLES / name)
    lines = {file: len(list(bundle.lines(file))) for file in bundle.manifest.files if file.endswith(".zst")}
    sources = [evidence["source"] for finding in document(name)["findings"] for evidence in finding["evidence"]]
    assert bool(sources) is (EXPECTED[name][0] != "clean")
    assert all(1 <= source["line"] <= lines[source["file"]] for source in sources)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_world_outside_is_in_them(name: str) -> None:
    bundle = Bundle.open(BUNDLES / name)
    texts = {file: bundle.text(file) for file in bundle.manifest.files}
    texts[MANIFEST] = (BUNDLES / name / MANIFEST).read_text()
    texts["report"] = (REPORTS / f"{name}.json").read_text()
    for file, text in texts.items():
        hosts = set(re.findall(r"https?://(?:[^/@\s\"]+@)?([^/\s\"\\']+)", text))
        assert not {host for host in hosts if not RESERVED.fullmatch(host)}, file
        assert str(Path.home()) + "/" not in text or str(Path.home()) == bundle.manifest.home, file
    assert sum(path.stat().st_size for path in (BUNDLES / name).rglob("*") if path.is_file()) <= MOST
