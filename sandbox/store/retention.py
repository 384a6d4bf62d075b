"""Which evidence may go: by age and verdict, then by size. Labelled runs keep theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.verdict import VerdictName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.config.model import RetentionPlan

_DAY_S: Final = 86_400
_GIB: Final = 1 << 30
_FIRST_TO_GO: Final[tuple[VerdictName, ...]] = ("clean", "inconclusive", "suspicious")
"""When there is too much. What is malicious goes by age alone, if at all."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that is there."""

    run: str
    purl: str
    created: float
    verdict: VerdictName
    size: int
    labelled: bool


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that goes."""

    run: str
    purl: str
    verdict: VerdictName
    size: int
    reason: str


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What a retention plan means for the evidence that is there."""

    removals: tuple[Removal, ...]
    """The oldest first of each reason."""
    kept: int
    """How many bundles stay."""
    kept_bytes: int
    labelled: int
    """How many of those are kept because somebody labelled their run, and would go otherwise."""
    too_much: int
    """Bytes by which what stays is still more than the plan allows."""


def choose(candidates: Sequence[Candidate], plan: RetentionPlan, now: float) -> Pruning:
    """Decide what goes.

    Args:
        candidates: All evidence that is there.
        plan: The configuration's.
        now: UTC seconds since the epoch.
    """
    oldest_first = sorted(candidates, key=lambda it: (it.created, it.run))
    due = {it.run: reason for it in oldest_first if (reason := _too_old(it, plan, now))}
    going = [(it, due[it.run]) for it in oldest_first if it.run in due and not it.labelled]
    staying = [it for it in oldest_first if it.run not in due or it.labelled]
    labelled = sum(it.run in due for it in staying)
    left = sum(it.size for it in staying)
    most = plan.most_gb * _GIB or None
    if most is not None and left > most:
        crowded = f"all evidence together was more than {plan.most_gb} GiB"
        for it in sorted(staying, key=lambda it: _order(it.verdict)):
            if left <= most or it.verdict not in _FIRST_TO_GO:
                break
            if it.labelled:
                labelled += it.run not in due
            else:
                going.append((it, crowded))
                left -= it.size
    return Pruning(
        removals=tuple(
            Removal(run=it.run, purl=it.purl, verdict=it.verdict, size=it.size, reason=reason) for it, reason in going
        ),
        kept=len(candidates) - len(going),
        kept_bytes=left,
        labelled=labelled,
        too_much=0 if most is None else max(left - most, 0),
    )


def _too_old(candidate: Candidate, plan: RetentionPlan, now: float) -> str:
    days = plan.days(candidate.verdict)
    if days and candidate.created < now - days * _DAY_S:
        return f"{candidate.verdict}, and older than {days} days"
    return ""


def _order(verdict: VerdictName) -> int:
    return _FIRST_TO_GO.index(verdict) if verdict in _FIRST_TO_GO else len(_FIRST_TO_GO)
