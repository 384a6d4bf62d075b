"""The verdict: findings decide, and nothing found is clean only when nothing was missed."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest

from collector.manifest import Coverage, Phase, PhaseStatus
from collector.timeline import TraceCounts
from collector.verdict import Verdict, decide
from tests.collector.bundles import START, make_manifest, make_phases
from tests.collector.reports import make_finding, make_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.findings import Finding
    from collector.sigma.rule import Level

UNFINISHED = [status for status in get_args(PhaseStatus) if status != "completed"]


def judged(findings: Sequence[Finding] = (), /, **changed: Phase) -> Verdict:
    manifest = make_manifest(make_phases(**changed))
    return decide(findings, manifest, make_timeline(manifest))


def changed_phase(name: str, **fields: object) -> dict[str, Phase]:
    (usual,) = (phase for phase in make_phases() if phase.name == name)
    return {f"{name}_": msgspec.structs.replace(usual, **fields)}


def test_clean_when_all_was_seen() -> None:
    verdict = judged()
    assert verdict.verdict == "clean"
    assert verdict.reasons == (
        "no rule of level medium or above fired; seen whole: dependencies, install, startup, import, exercise, linger",
    )


@pytest.mark.parametrize(
    ("level", "nursery", "expected"),
    [
        ("critical", False, "malicious"),
        ("critical", True, "suspicious"),
        ("high", False, "suspicious"),
        ("medium", False, "suspicious"),
        ("medium", True, "suspicious"),
        ("low", False, "clean"),
        ("informational", False, "clean"),
    ],
)
def test_levels(level: Level, *, nursery: bool, expected: str) -> None:
    assert judged([make_finding(level, nursery=nursery)]).verdict == expected


def test_the_worst_decides_and_each_title_is_told_once() -> None:
    findings = [
        make_finding("critical", "Secret left"),
        make_finding("critical", "Secret left", phase="import"),
        make_finding("high", "Shell", actor="dependency:x", nursery=True),
        make_finding("low", "Odd name"),
    ]
    verdict = judged(findings)
    assert verdict.verdict == "malicious"
    assert verdict.reasons == (
        "critical: Secret left (install, import)",
        "high: Shell (install by dependency:x; a rule on trial)",
    )


@pytest.mark.parametrize(("name", "status"), list(product(("dependencies", "install", "import", "linger"), UNFINISHED)))
def test_no_phase_may_end_badly(name: str, status: PhaseStatus) -> None:
    verdict = judged(**changed_phase(name, status=status))
    assert verdict.verdict == "inconclusive"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(f"{name} ")


def test_reasons_say_how_a_phase_ended() -> None:
    coverage = Coverage(unit="module", planned=240, reached=227, timed_out=("x",), unreached=tuple("abcdefghijkl"))
    changed = changed_phase(
        "import",
        status="timed-out",
        reason="timed out after 600 s",
        started=START,
        ended=START + 600,
        coverage=coverage,
    )
    (reason,) = judged(**changed).reasons
    assert reason.startswith("import did not finish: timed out after 600 s; 12 of 240 modules were not reached; ")
    assert reason.endswith("; 1 of 240 modules was cut off, out of time")
    assert judged(**changed_phase("install", status="oom", started=START, ended=START + 3)).reasons == (
        "install did not finish: it ran out of memory after 3 s",
    )
    assert judged(**changed_phase("install", status="failed", exit_code=1)).reasons == ("install failed: exit code 1",)
    assert judged(**changed_phase("linger", status="not-run")).reasons == (
        "linger was not run: no reason was recorded",
    )


def test_a_command_that_failed_is_a_gap_though_its_phase_completed() -> None:
    assert judged(**changed_phase("install", exit_code=2)).verdict == "inconclusive"


def test_coverage() -> None:
    def of(**fields: object) -> Verdict:
        coverage = msgspec.convert({"unit": "module", "planned": 3, "reached": 3, **fields}, Coverage)
        return judged(**changed_phase("import", coverage=coverage))

    assert of(failed=["a", "b"]).verdict == "clean"
    assert of(reached=2, timed_out=["a"]).verdict == "inconclusive"
    assert of(reached=2, unreached=["a"]).verdict == "inconclusive"
    # What the lists do not account for was not reached either.
    # When nothing could be imported, nothing was seen.
    assert of(failed=["a: no x", "b", "c"]).reasons == (
        "import is incomplete: no module could be imported, the first: a: no x",
    )
    assert of(unit="script", failed=["a", "b", "c"]).verdict == "clean"
    assert of(reached=1).reasons == ("import is incomplete: 2 of 3 modules were not reached",)


def test_traces() -> None:
    manifest = make_manifest()
    for counts, sentence in (
        (
            TraceCounts(lines=9, unparsed=3, truncated=0, first_unparsed_line=7),
            "3 lines of the trace of import were not understood (the first at traces/import.strace.zst:7)",
        ),
        (TraceCounts(lines=9, unparsed=1, truncated=0), "1 line of the trace of import was not understood"),
        (TraceCounts(lines=0, unparsed=0, truncated=0), "import has no trace"),
    ):
        verdict = decide((), manifest, make_timeline(manifest, traces={"import": counts}))
        assert verdict.verdict == "inconclusive"
        assert verdict.reasons == (sentence,)
    assert judged(**changed_phase("startup", trace_complete=False)).reasons == (
        "the trace of startup is incomplete: the tracer was stopped or its file was cut",
    )


def test_what_is_shown_but_no_gap() -> None:
    assert judged(**changed_phase("install", output_truncated=True, survivors=2, limits=("output",))).verdict == "clean"
    manifest = make_manifest()
    cut = {"import": TraceCounts(lines=9, unparsed=0, truncated=7)}
    assert decide((), manifest, make_timeline(manifest, traces=cut)).verdict == "clean"


def test_a_phase_without_anything_to_do_is_no_gap() -> None:
    nothing = Phase(name="dependencies", status="completed", reason="the artefact depends on nothing")
    assert judged(dependencies=nothing).verdict == "clean"


def test_a_trace_without_the_end_of_its_command() -> None:
    manifest = make_manifest()
    open_end = {"import": TraceCounts(lines=9, unparsed=0, truncated=0, ended=False)}
    verdict = decide((), manifest, make_timeline(manifest, traces=open_end))
    assert (verdict.verdict, verdict.reasons) == (
        "inconclusive",
        ("the trace of import stops before its command ended",),
    )
    killed = make_manifest(make_phases(**changed_phase("import", status="timed-out")))
    assert decide((), killed, make_timeline(killed, traces=open_end)).reasons == (
        "import did not finish: it ran out of time after 10 s",
    )


def test_phases_that_the_manifest_leaves_out() -> None:
    manifest = make_manifest([phase for phase in make_phases() if phase.name not in {"install", "import"}])
    verdict = decide((), manifest, make_timeline(manifest))
    assert (verdict.verdict, verdict.reasons) == ("inconclusive", ("the manifest says nothing of install, import",))


def test_other_gaps() -> None:
    manifest = make_manifest(interrupted=True)
    assert decide((), manifest, make_timeline(manifest)).reasons == ("the run was interrupted before its end",)
    empty = make_manifest(())
    assert decide((), empty, make_timeline(empty)).verdict == "inconclusive"
    assert judged(**changed_phase("import", limits=("processes", "output"))).reasons == (
        "import was held back by its limits: processes",
    )
    usual = make_manifest()
    assert decide((), usual, make_timeline(usual, unparsed=2, limits=("records",))).reasons == (
        "2 lines of the network record were not understood",
        "the network record is incomplete: records",
    )


def test_findings_outweigh_gaps_but_do_not_hide_them() -> None:
    verdict = judged([make_finding("critical")], **changed_phase("import", status="killed", reason="killed by us"))
    assert verdict.verdict == "malicious"
    assert verdict.reasons[-1] == "import did not finish: killed by us"
    low = judged([make_finding("low")], **changed_phase("import", status="killed"))
    assert low.verdict == "inconclusive"
