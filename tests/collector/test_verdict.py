"""The verdict: findings decide, and nothing found is clean only when nothing was missed."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest

from collector.limits import NO_GAP, by_phase, words
from collector.manifest import Coverage, LimitHit, LimitName, Phase, PhaseStatus
from collector.records import LossRecord
from collector.resources import Resources
from collector.timeline import TraceCounts
from collector.verdict import Verdict, decide
from tests.collector.bundles import START, make_manifest, make_phases
from tests.collector.reports import make_events, make_finding, make_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.findings import Finding
    from collector.sigma.rule import Level

LEFT = make_events(
    'exercise target 7 http.request method=POST host=drop.test target=/ bait=["gh-token/base64","ssh-key/hex"]'
)
CONTACT = make_events("install target 7 network.connect ip=203.0.113.5 port=443 host=drop.test")
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


@pytest.mark.parametrize(("self_test", "expected"), [("passed", "clean"), ("not-completed", "inconclusive")])
def test_a_tracer_that_was_not_proven_is_never_called_clean(self_test: str, expected: str) -> None:
    manifest = make_manifest(make_phases())
    isolation = msgspec.structs.replace(manifest.isolation, self_test=self_test)
    manifest = msgspec.structs.replace(manifest, isolation=isolation)
    verdict = decide((), manifest, make_timeline(manifest))
    assert verdict.verdict == expected
    assert ("self-test could not be completed" in verdict.reasons[0]) is (expected == "inconclusive")


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
        "critical: Secret left (install, import); proof: an act of its own that has no harmless reason",
        "high: Shell (install by dependency:x); a rule on trial",
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
    cut = LimitHit(name="output", what="stdout", limit=1024, seen=2048, lost=1024, unit="bytes")
    assert judged(**changed_phase("install", output_truncated=True, survivors=2, limits=(cut,))).verdict == "clean"
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
    usual = make_manifest()
    assert decide((), usual, make_timeline(usual, unparsed=2, limits=("records",))).reasons == (
        "2 lines of the network record were not understood",
        "the network record is incomplete: records",
    )
    followed = msgspec.structs.replace(make_timeline(usual), exceeded=("the run had more files",))
    verdict = decide((), usual, followed)
    assert (verdict.verdict, verdict.reasons) == ("inconclusive", ("the run had more files",))


LIMITS = [
    LimitHit(name="cpu", limit=600, seen=601, unit="seconds"),
    LimitHit(name="memory", limit=1 << 30, seen=3 << 29, unit="bytes", what="left by install"),
    LimitHit(name="processes", limit=512, seen=510, unit="processes"),
    LimitHit(name="disk", limit=4 << 30, seen=4 << 30, unit="bytes"),
    LimitHit(name="trace", limit=1 << 20, seen=1_100_000, unit="bytes"),
    LimitHit(name="gateway-bytes", limit=1 << 26, seen=1 << 27, lost=1 << 26, unit="bytes"),
    LimitHit(name="connections", limit=512, seen=515, lost=3, unit="connections"),
    LimitHit(name="evidence-disk", limit=16 << 20, seen=5000, unit="bytes"),
]
WORDS = {
    "cpu": "processor time 601 s of at most 600 s",
    "memory": "memory (left by install) 1.5 GiB of at most 1 GiB",
    "processes": "510 processes of at most 512",
    "disk": "the pod's disk 4 GiB of at most 4 GiB",
    "trace": "trace 1.05 MiB of at most 1 MiB",
    "gateway-bytes": "network records of 64 MiB were not written, as the run had its 64 MiB",
    "connections": "3 connections were closed unread, as 512 were open",
    "evidence-disk": "the disk that holds the evidence had 4.88 KiB left, and 16 MiB are kept free",
}


def test_every_limit_but_the_output_has_its_case() -> None:
    assert {hit.name for hit in LIMITS} == {*get_args(LimitName)} - NO_GAP


@pytest.mark.parametrize("hit", LIMITS, ids=lambda hit: hit.name)
def test_a_limit_that_was_met_is_a_gap_that_says_how_much(hit: LimitHit) -> None:
    verdict = judged(**changed_phase("import", limits=(hit,)))
    assert (verdict.verdict, verdict.reasons) == (
        "inconclusive",
        (f"import met its limits: {WORDS[hit.name]}",),
    )
    # Of one for which the phase was ended, its own reason tells.
    ended = msgspec.structs.replace(hit, ended=True)
    told = judged(**changed_phase("import", status="killed", reason=f"ended at a limit: {words(hit)}", limits=(ended,)))
    assert told.reasons == (f"import did not finish: ended at a limit: {WORDS[hit.name]}",)


def test_limits_of_the_gateway_are_gaps_of_the_phase_they_fell_into() -> None:
    losses = (
        LossRecord(ts=START + 12, name="connections", limit=4, count=3),
        LossRecord(ts=START + 13, name="connections", limit=4, count=2),
        LossRecord(ts=START + 31, name="gateway-bytes", limit=2048, count=2, size=4096),
        LossRecord(ts=START + 31, name="something else", limit=1, count=1),
    )
    manifest = make_manifest()
    hits = by_phase(losses, manifest.phases)
    assert {name: [(hit.name, hit.limit, hit.seen, hit.lost) for hit in found] for name, found in hits.items()} == {
        "install": [("connections", 4, 9, 5)],
        "import": [("gateway-bytes", 2048, 6144, 4096)],
    }
    timeline = msgspec.structs.replace(make_timeline(manifest), gateway_hits=hits)
    assert decide((), manifest, timeline).reasons == (
        "install met its limits: 5 connections were closed unread, as 4 were open",
        "import met its limits: network records of 4 KiB were not written, as the run had its 2 KiB",
    )


def test_samples_that_are_none_are_a_gap() -> None:
    manifest = make_manifest()
    timeline = msgspec.structs.replace(make_timeline(manifest), resources=Resources(phases={}, unparsed=2))
    assert decide((), manifest, timeline).reasons == ("2 lines of the resource record were not understood",)


def test_findings_outweigh_gaps_but_do_not_hide_them() -> None:
    verdict = judged([make_finding("critical")], **changed_phase("import", status="killed", reason="killed by us"))
    assert verdict.verdict == "malicious"
    assert verdict.reasons[-1] == "import did not finish: killed by us"
    low = judged([make_finding("low")], **changed_phase("import", status="killed"))
    assert low.verdict == "inconclusive"


def test_a_secret_that_leaves_is_proof_even_when_the_package_was_called() -> None:
    verdict = judged([make_finding("critical", phase="exercise", called=True, owned=False, evidence=LEFT)])
    assert (verdict.verdict, verdict.proof) == ("malicious", ("bait-left",))
    assert verdict.reasons == (
        "critical: Something was done (exercise); proof: gh-token/base64, ssh-key/hex left for drop.test",
    )


@pytest.mark.parametrize("role", ["local", "metadata"])
def test_a_secret_that_stays_on_the_machine_has_not_left(role: str) -> None:
    (event,) = LEFT
    stayed = (msgspec.structs.replace(event, role=role),)
    assert judged([make_finding("critical", called=True, evidence=stayed)]).verdict == "suspicious"


def test_pip_may_tell_an_index_its_password_but_nobody_else_may() -> None:
    (event,) = LEFT
    told = msgspec.structs.replace(event, role="registry", actor="installer")
    verdict = judged([make_finding("critical", actor="installer", owned=False, evidence=(told,))])
    assert verdict.verdict == "suspicious"
    stolen = msgspec.structs.replace(event, role="registry")
    assert judged([make_finding("critical", evidence=(stolen,))]).proof == ("bait-left",)


@pytest.mark.parametrize(
    ("facts", "verdict", "proof", "standing"),
    [
        ({}, "malicious", ("act",), "proof: an act of its own that has no harmless reason"),
        ({"chain": True}, "malicious", ("chain",), "proof: a chain of acts, each its own"),
        ({"chain": True, "called": True}, "suspicious", (), "no proof: only when called"),
        ({"called": True}, "suspicious", (), "no proof: only when called"),
        ({"chain": True, "owned": False}, "suspicious", (), "no proof: not done by the package itself"),
        ({"nursery": True}, "suspicious", (), "no proof: a rule on trial"),
    ],
)
def test_what_proves_and_what_does_not(
    facts: dict[str, bool], verdict: str, proof: tuple[str, ...], standing: str
) -> None:
    judgement = judged([make_finding("critical", **facts)])
    assert (judgement.verdict, judgement.proof) == (verdict, proof)
    assert judgement.reasons == (f"critical: Something was done (install); {standing}",)


def test_proofs_are_told_the_strongest_first() -> None:
    findings = [make_finding("critical"), make_finding("critical", chain=True), make_finding("critical", evidence=LEFT)]
    assert judged(findings).proof == ("bait-left", "chain", "act")


def test_host_facts_to_an_unknown_host_and_nothing_else_are_a_beacon() -> None:
    beacon = make_finding("critical", "Facts sent", beacon="whole", chain=True, evidence=CONTACT)
    part = make_finding("high", "Host contacted", beacon="part", evidence=CONTACT)
    verdict = judged([beacon, part, make_finding("low", "Something else")])
    assert (verdict.verdict, verdict.classification) == ("malicious", "dependency-confusion-beacon")
    assert verdict.reasons[0] == (
        "dependency-confusion beacon: facts about the host went to drop.test, and nothing else counts against it"
    )
    assert len(verdict.reasons) == 3
    more = judged([beacon, part, make_finding("medium", "Something else")])
    assert (more.verdict, more.classification) == ("malicious", "")
    # A contact alone tells no facts, and a beacon that carries a secret is theft.
    assert judged([part]).classification == ""
    assert judged([msgspec.structs.replace(beacon, evidence=LEFT)]).classification == ""
