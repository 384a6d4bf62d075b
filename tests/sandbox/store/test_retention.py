"""What may go, and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.config.model import RetentionPlan
from sandbox.store.retention import Candidate, choose

if TYPE_CHECKING:
    from collector.verdict import VerdictName

NOW = 1_800_000_000.0
DAY = 86_400
GIB = 1 << 30
PLAN = RetentionPlan(clean_days=10, inconclusive_days=20, suspicious_days=100, malicious_days=0)


def it(run: str, verdict: VerdictName, days: float, **more: Any) -> Candidate:
    return Candidate(
        run=run,
        purl=f"pkg:pypi/{run}",
        created=NOW - days * DAY,
        verdict=verdict,
        size=more.get("size", GIB),
        labelled=more.get("labelled", False),
    )


def test_each_verdict_has_its_time() -> None:
    candidates = [
        it("a", "clean", 9),
        it("b", "clean", 11),
        it("c", "inconclusive", 19),
        it("d", "inconclusive", 21),
        it("e", "suspicious", 99),
        it("f", "suspicious", 101),
        it("g", "malicious", 10_000),
    ]
    made = choose(candidates, PLAN, NOW)
    assert [removal.run for removal in made.removals] == ["f", "d", "b"]
    assert [removal.reason for removal in made.removals] == [
        "suspicious, and older than 100 days",
        "inconclusive, and older than 20 days",
        "clean, and older than 10 days",
    ]
    assert (made.kept, made.kept_bytes, made.too_much) == (4, 4 * GIB, 0)


def test_labelled_evidence_never_goes() -> None:
    candidates = [it("a", "clean", 11, labelled=True), it("b", "clean", 1, labelled=True)]
    made = choose(candidates, RetentionPlan(clean_days=10, most_gb=1), NOW)
    assert made.removals == ()
    assert (made.kept, made.labelled, made.too_much) == (2, 2, GIB)


def test_when_there_is_too_much_the_least_telling_goes_first_the_oldest_before_others() -> None:
    candidates = [
        it("new-clean", "clean", 1),
        it("old-clean", "clean", 2),
        it("inconclusive", "inconclusive", 3),
        it("suspicious", "suspicious", 4),
        it("malicious", "malicious", 5),
    ]
    for most, gone in ((5, []), (4, ["old-clean"]), (2, ["old-clean", "new-clean", "inconclusive"])):
        made = choose(candidates, RetentionPlan(most_gb=most), NOW)
        assert [removal.run for removal in made.removals] == gone
        assert (made.kept_bytes, made.too_much) == (most * GIB, 0)


def test_what_is_malicious_stays_even_if_there_is_too_much() -> None:
    made = choose([it(name, "malicious", 1) for name in "abc"], RetentionPlan(most_gb=1), NOW)
    assert (made.removals, made.too_much) == ((), 2 * GIB)


def test_nothing_there_nothing_goes() -> None:
    assert choose([], PLAN, NOW).removals == ()
