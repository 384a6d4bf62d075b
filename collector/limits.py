"""What the limits of a run cost: hits in words, and those of the gateway told to the phases they fell into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.clock import PhaseClock
from collector.manifest import LimitHit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.manifest import LimitName, Phase
    from collector.records import LossRecord

NO_GAP: Final = frozenset({"output"})
"""Limits that take nothing from the evidence and do not disturb the package: what it prints is kept for reading only,
and what is over the limit is drained as before."""
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_LONGEST: Final = 80


def words(hit: LimitHit) -> str:
    """Say what a limit was, and how much there was of it.

    Args:
        hit: The limit. Its `what` may be anything: the manifest is not trusted.
    """
    limit, seen, lost = (amount(number, hit.unit) for number in (hit.limit, hit.seen, hit.lost))
    of = f" ({hit.what[:_LONGEST]})" if hit.what else ""
    if hit.name == "evidence-disk":
        return f"the disk that holds the evidence had {seen} left, and {limit} are kept free"
    if hit.name == "gateway-bytes":
        return f"network records of {lost} were not written, as the run had its {limit}"
    if hit.name == "connections":
        return f"{lost} were closed unread, as {hit.limit:,} were open"
    if hit.name == "output":
        return f"output{of} {seen}, of which the first {limit} are kept"
    if hit.name == "processes":
        return f"{seen}{of} of at most {hit.limit:,}"
    what = {"cpu": "processor time", "disk": "the pod's disk"}.get(hit.name, hit.name)
    return f"{what}{of} {seen} of at most {limit}"


def amount(number: int, unit: str) -> str:
    """Write a number for people, e.g. `1.5 GiB`, `600 s`, `12 processes`.

    Args:
        number: How much.
        unit: As in `LimitHit`.
    """
    if unit == "seconds":
        return f"{number:,} s"
    if unit != "bytes":
        return f"{number:,} {unit}"
    for size, name in _SIZES:
        if abs(number) >= size:
            return f"{number / size:,.2f}".rstrip("0").rstrip(".") + f" {name}"
    return f"{number:,} bytes"


def by_phase(losses: Iterable[LossRecord], phases: Sequence[Phase]) -> dict[str, tuple[LimitHit, ...]]:
    """Add up what the gateway lost, for each phase in which it happened.

    Args:
        losses: The gateway's own words.
        phases: Those of the manifest, for their times.
    """
    clock = PhaseClock(phases)
    found: dict[str, dict[LimitName, LimitHit]] = {}
    for loss in losses:
        hits = found.setdefault(clock.at(loss.ts), {})
        if loss.name == "connections":
            _add(hits, LimitHit(name="connections", limit=loss.limit, seen=0, lost=loss.count, unit="connections"))
        elif loss.name == "gateway-bytes":
            _add(hits, LimitHit(name="gateway-bytes", limit=loss.limit, seen=0, lost=loss.size, unit="bytes"))
    return {phase: tuple(hits.values()) for phase, hits in found.items() if hits}


def _add(hits: dict[LimitName, LimitHit], hit: LimitHit) -> None:
    lost = hit.lost + (hits[hit.name].lost if hit.name in hits else 0)
    hits[hit.name] = msgspec.structs.replace(hit, lost=lost, seen=hit.limit + lost)
