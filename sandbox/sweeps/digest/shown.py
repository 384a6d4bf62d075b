"""What the digest's forms have in common: instants, counts, and harmless strings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.sweeps.digest.model import BadPart, Digest, SweepPart

_STATES: Final = {
    "submitted": "submitted",
    "existing": "known already",
    "skipped": "passed over",
    "gone": "gone from the index",
    "unreadable": "could not be looked up",
    "pending": "left for the next sweep",
}
_ENDS: Final = {"done": "ran", "failed": "could not be run", "dead": "given up", "cancelled": "cancelled"}
_VERDICTS: Final = ("malicious", "suspicious", "inconclusive", "clean")


def instant(epoch: float) -> str:
    """UTC, to the minute."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")


def counted(counts: Mapping[str, int]) -> str:
    """What became of a sweep's packages."""
    return _listed(counts, _STATES) or "no packages"


def summary(digest: Digest) -> str:
    """The first line: what ran, and how it was judged."""
    total = sum(digest.ended.values())
    judged = ", ".join(f"{digest.verdicts[name]:,} {name}" for name in _VERDICTS if digest.verdicts.get(name))
    parts = [f"{total:,} submissions ended", _listed(digest.ended, _ENDS), judged]
    if digest.waiting:
        parts.append(f"{digest.waiting:,} still wait or run")
    return "; ".join(part for part in parts if part)


def headline(sweep: SweepPart) -> str:
    """How a run of a sweep went, without what others wrote."""
    took = f", {(sweep.ended - sweep.started) / 60:.0f} minutes" if sweep.ended is not None else ""
    return f"{instant(sweep.started)}{took}: {sweep.state}; {counted(sweep.counts)}"


def compared(digest: Digest) -> str:
    """How many runs could be compared at all."""
    runs = sum(digest.verdicts.values())
    return f"{digest.compared:,} of {runs:,} runs could be compared with one of the previous release."


def news(bad: BadPart) -> str:
    """Whether a bad package is news."""
    if not bad.before:
        return "first run of this project"
    return f"already {bad.before} before" if bad.before == bad.verdict else f"{bad.before} before"


def _listed(counts: Mapping[str, int], names: Mapping[str, str]) -> str:
    known = [f"{counts[key]:,} {words}" for key, words in names.items() if counts.get(key)]
    return ", ".join(known + [f"{count:,} {key}" for key, count in counts.items() if key not in names])
