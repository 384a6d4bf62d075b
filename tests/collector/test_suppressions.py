"""Suppressions: read with errors that help, applied with care, and always told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from collector.errors import SuppressionError
from collector.report import to_json
from collector.sigma.rule import RuleSet
from collector.suppressions import Outcomes, Suppressions, apply, load_suppressions
from collector.verdict import decide
from tests.collector.bundles import make_manifest, make_package
from tests.collector.reports import make_events, make_finding, make_report, make_timeline
from tests.collector.sigma.sigmas import load, rule

if TYPE_CHECKING:
    from pathlib import Path

    from collector.findings import Finding

ENTRY = {
    "package": "pkg:pypi/thing",
    "versions": ">=0.9,<2",
    "rule": "key-read",
    "reason": "it is an SSH client",
    "author": "alice",
    "expires": "2027-03-31",
}
RULES = RuleSet(tuple(load(rule())), "")
LEFT = make_events('import target 7 http.request method=POST host=drop.test target=/ bait=["gh-token/plain"]')


def written(path: Path, *entries: dict[str, str]) -> Path:
    # JSON is YAML: every value is quoted.
    path.write_text(json.dumps({"suppressions": entries}))
    return path


def suppressions(path: Path, *changes: dict[str, str]) -> Suppressions:
    return load_suppressions(written(path / "known.yaml", *({**ENTRY, **one} for one in changes)))


def finding(level: Any = "high", **more: Any) -> Finding:
    return make_finding(level, "Key read", **more)


def applied(given: Suppressions, *findings: Finding, **manifest: Any) -> tuple[tuple[Finding, ...], Outcomes]:
    return apply(given, findings, msgspec.structs.replace(make_manifest(), **manifest), RULES)


def test_a_suppressed_finding_is_marked_and_does_not_count(tmp_path: Path) -> None:
    given = suppressions(tmp_path, {})
    marked, outcomes = applied(given, finding(), finding(phase="import"), finding(level="critical"))
    assert [(told.outcome, told.findings) for told in outcomes.told] == [("applied", 3)]
    assert outcomes.digest == given.digest
    manifest = make_manifest()
    verdict = decide(marked, manifest, make_timeline(manifest))
    assert (verdict.verdict, verdict.proof) == ("clean", ())
    assert verdict.reasons == (
        (
            "no rule of level medium or above other than suppressed ones fired; "
            "seen whole: dependencies, install, startup, import, exercise, linger"
        ),
        "suppressed: high: Key read (install): it is an SSH client (alice, until 2027-03-31)",
        "suppressed: high: Key read (import): it is an SSH client (alice, until 2027-03-31)",
        "suppressed: critical: Key read (install): it is an SSH client (alice, until 2027-03-31)",
    )


def test_it_is_still_in_the_report(tmp_path: Path) -> None:
    marked, _ = applied(suppressions(tmp_path, {}), finding())
    (shown,) = json.loads(to_json(make_report(findings=marked)))["findings"]
    assert shown["weight"] == "suppressed"
    assert shown["suppression"] == ENTRY


def test_other_findings_count_as_before(tmp_path: Path) -> None:
    other = make_finding("medium", "Something else")
    marked, _ = applied(suppressions(tmp_path, {}), finding("critical"), other)
    manifest = make_manifest()
    verdict = decide(marked, manifest, make_timeline(manifest))
    assert verdict.verdict == "suspicious"
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["medium", "suppressed"]


def test_missing_evidence_is_not_suppressed(tmp_path: Path) -> None:
    marked, _ = applied(suppressions(tmp_path, {}), finding())
    manifest = make_manifest(interrupted=True)
    assert decide(marked, manifest, make_timeline(manifest)).verdict == "inconclusive"


def test_a_secret_that_left_is_never_suppressed(tmp_path: Path) -> None:
    marked, outcomes = applied(suppressions(tmp_path, {}), finding("critical", evidence=LEFT), finding("high"))
    assert [one.suppression is None for one in marked] == [True, False]
    assert [(told.outcome, told.findings) for told in outcomes.told] == [("refused", 1)]
    manifest = make_manifest()
    assert decide(marked, manifest, make_timeline(manifest)).verdict == "malicious"


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "applied"),
        ({"rule": "00000000-0000-4000-8000-000000000001"}, "unknown-rule"),
        ({"rule": RULES.rules[0].id}, "unused"),
        ({"rule": "key-raed"}, "unknown-rule"),
        ({"package": "pkg:pypi/Thing"}, "applied"),
        ({"versions": "*"}, "applied"),
        ({"versions": "==1.*"}, "applied"),
        ({"versions": ">1.0"}, "other-version"),
        # Runs of these tests were made on 22 November 2026.
        ({"expires": "2026-11-22"}, "applied"),
        ({"expires": "2026-11-21"}, "expired"),
        ({"expires": "2025-12-31"}, "expired"),
    ],
)
def test_what_becomes_of_a_suppression(tmp_path: Path, change: dict[str, str], outcome: str) -> None:
    marked, outcomes = applied(suppressions(tmp_path, change), finding())
    assert [told.outcome for told in outcomes.told] == [outcome]
    assert (marked[0].suppression is not None) is (outcome == "applied")


def test_one_that_matches_nothing_is_told(tmp_path: Path) -> None:
    _, outcomes = applied(suppressions(tmp_path, {}), make_finding("high", "Something else"))
    assert [(told.outcome, told.findings) for told in outcomes.told] == [("unused", 0)]


def test_those_for_other_packages_are_left_out(tmp_path: Path) -> None:
    marked, outcomes = applied(suppressions(tmp_path, {"package": "pkg:pypi/other"}), finding())
    assert (marked[0].suppression, outcomes.told) == (None, ())


def test_a_version_that_is_none_is_only_covered_by_all(tmp_path: Path) -> None:
    package = make_package(version="not a version")
    given = suppressions(tmp_path, {}, {"versions": "*"})
    _, outcomes = applied(given, finding(), package=package)
    assert [told.outcome for told in outcomes.told] == ["other-version", "applied"]


def test_pre_releases_are_in_a_range(tmp_path: Path) -> None:
    _, outcomes = applied(suppressions(tmp_path, {}), finding(), package=make_package(version="1.0rc1"))
    assert [told.outcome for told in outcomes.told] == ["applied"]


def test_the_first_that_matches_applies(tmp_path: Path) -> None:
    marked, outcomes = applied(suppressions(tmp_path, {"author": "bob"}, {}), finding())
    assert marked[0].suppression is not None
    assert marked[0].suppression.author == "bob"
    assert [told.outcome for told in outcomes.told] == ["applied", "unused"]


YAML = """\
# Looked at by the team.
suppressions:
- package: pkg:pypi/thing
  versions: ">=1"
  rule: key-read
  reason: it is an SSH client
  author: alice
  expires: 2027-03-31
"""


def test_a_file_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(YAML)
    (entry,) = load_suppressions(path).entries
    assert (entry.expires, entry.versions) == ("2027-03-31", ">=1")


@pytest.mark.parametrize("day", ["2028-02-29", "2400-02-29", "2027-12-31", "9999-01-01"])
def test_days_that_exist(tmp_path: Path, day: str) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(YAML.replace("2027-03-31", day))
    assert load_suppressions(path).entries[0].expires == day


def test_a_file_without_any(tmp_path: Path) -> None:
    path = tmp_path / "known.yaml"
    path.write_text("suppressions: []\n")
    assert load_suppressions(path).entries == ()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("  reason: ", "  reasn: ", "6: unknown key 'reasn' in suppressions.1; did you mean 'reason'?"),
        ("  author: alice\n", "", "3: key 'author' is missing in suppressions.1"),
        ("suppressions:", "suppresions:", "2: unknown key 'suppresions' in the list of suppressions; did you mean"),
        ("pkg:pypi/thing", "thing", "3: 'thing' is not a purl without a version; write e.g. pkg:pypi/requests"),
        ("pkg:pypi/thing", "pkg:pypi/thing@1", "3: 'pkg:pypi/thing@1' is not a purl without a version"),
        ("pkg:pypi/thing", "pkg:pipy/thing", "3: unknown ecosystem 'pipy'; did you mean 'pypi'?"),
        ('">=1"', '"1"', "4: '1' is no version specifier; write e.g. '>=2.30,<3', or '*' for all versions"),
        ('">=1"', '""', "4: '' is no version specifier"),
        ("2027-03-31", "soon", "8: 'soon' is no date; write e.g. 2027-03-31"),
        ("2027-03-31", "31.3.2027", "8: '31.3.2027' is no date"),
        (
            "2027-03-31",
            "2027-02-30",
            "8: '2027-02-30' is no date: there is no such day in 2027-02; write e.g. 2027-03-31",
        ),
        ("2027-03-31", "2027-02-29", "8: '2027-02-29' is no date: there is no such day in 2027-02"),
        ("2027-03-31", "2027-04-00", "8: '2027-04-00' is no date: there is no such day in 2027-04"),
        ("2027-03-31", "2027-00-01", "8: '2027-00-01' is no date: there is no month 0"),
        ("2027-03-31", "2027-13-01", "8: '2027-13-01' is no date: there is no month 13"),
        ("2027-03-31", "'0000-01-01'", "8: '0000-01-01' is no date: there is no such day in 0000-01"),
        ("it is an SSH client", "''", "6: suppressions.1.reason: expected `str` of length >= 1"),
        ("- package", "  package", "3: suppressions must be a list"),
        ("alice", "[alice", "8: not valid YAML"),
        (YAML, "", "1: the file is empty; write `suppressions: []` or do without it"),
    ],
)
def test_errors_name_the_line_and_what_to_do(tmp_path: Path, before: str, after: str, message: str) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(YAML.replace(before, after))
    with pytest.raises(SuppressionError) as caught:
        load_suppressions(path)
    assert str(caught.value).startswith(f"{path}:{message}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "known.yaml"
    with pytest.raises(SuppressionError, match=r"No such file or directory; check the path$"):
        load_suppressions(path)
    path.write_bytes(b"suppressions: []\n# \xff\n")
    with pytest.raises(SuppressionError, match=r":2: not UTF-8"):
        load_suppressions(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(SuppressionError, match="larger than 1 MiB"):
        load_suppressions(path)
