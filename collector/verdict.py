"""From findings and gaps to a verdict with its reasons; nothing found is `clean` only when nothing was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from collector.gaps import gaps
from collector.standing import INSTALLER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.events import AnyEvent
    from collector.findings import Finding
    from collector.manifest import Manifest
    from collector.timeline import Timeline

VerdictName: TypeAlias = Literal["malicious", "suspicious", "clean", "inconclusive"]
Proof: TypeAlias = Literal["bait-left", "chain", "act"]
"""What makes a verdict `malicious`: a planted secret left; acts that together mean one thing; one act that means it
alone. Chains and acts count when they are the package's or a dependency's, and not only seen when it was called."""
Weight: TypeAlias = Literal["proof", "suspicion", "context", "suppressed"]
"""How a finding counts: makes `malicious`, makes `suspicious`, is only shown, or would count but is suppressed."""
Classification: TypeAlias = Literal["", "dependency-confusion-beacon"]

_COUNTED: Final = frozenset({"critical", "high", "medium"})
_NAMED: Final = 3
"""Planted secrets that a reason names."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer and what it rests on."""

    verdict: VerdictName
    reasons: tuple[str, ...]
    """Sentences for people: the findings that count, then everything that was not seen. Never empty."""
    proof: tuple[Proof, ...] = ()
    """What proves it, the strongest first; empty unless the verdict is `malicious`."""
    classification: Classification = ""
    """What sort of package it is, where findings say so."""


def decide(findings: Sequence[Finding], manifest: Manifest, timeline: Timeline) -> Verdict:
    """Judge a run.

    Args:
        findings: What the rules found, the gravest first.
        manifest: How each phase ended.
        timeline: How much of the traces and of the gateway's record was understood.

    Returns:
        The verdict. Findings outweigh gaps, but the gaps are always among the reasons.
    """
    counted = [finding for finding in findings if weigh(finding) in {"proof", "suspicion"}]
    suppressed = _suppressed(findings)
    missed = tuple(gaps(manifest, timeline))
    proofs = {proof_of(finding) for finding in counted}
    proof = tuple(kind for kind in _STRENGTH if kind in proofs)
    beacon = _is_beacon(counted) and "bait-left" not in proofs
    reasons = (*((_beacon(counted),) if beacon else ()), *_told(counted), *suppressed, *missed)
    if counted:
        return Verdict(
            verdict="malicious" if proof else "suspicious",
            reasons=reasons,
            proof=proof,
            classification="dependency-confusion-beacon" if beacon else "",
        )
    if missed:
        return Verdict(verdict="inconclusive", reasons=reasons)
    ran = ", ".join(phase.name for phase in manifest.phases)
    other = "other than suppressed ones " if suppressed else ""
    nothing = f"no rule of level medium or above {other}fired; seen whole: {ran}"
    return Verdict(verdict="clean", reasons=(nothing, *suppressed))


def proof_of(finding: Finding) -> Proof | None:
    """Say what a finding proves; None when it is no proof.

    A planted secret that leaves proves theft whoever sent it and whenever: nobody else knows it. All else must be the
    doing of the package or of a dependency, and must happen without the package being called: what code does when it
    is told to act may be what it is for.
    """
    if finding.level != "critical" or finding.nursery:
        return None
    if _secrets(finding):
        return "bait-left"
    if not finding.owned or finding.called:
        return None
    return "chain" if finding.chain else "act"


def bait_left(event: AnyEvent) -> tuple[str, ...]:
    """Say which planted secrets, as `name/encoding`, leave for another machine in an event."""
    # What goes to the machine itself, or back to the metadata service that gave it, has not left; and pip may tell an
    # index the password for it.
    role = getattr(event, "role", "local")
    if role in {"local", "metadata"} or (role, event.actor) == ("registry", INSTALLER):
        return ()
    bait: tuple[str, ...] = getattr(event, "bait", ())
    return bait


def weigh(finding: Finding) -> Weight:
    """Say how a finding counts for the verdict."""
    if finding.level not in _COUNTED:
        return "context"
    if finding.suppression is not None:
        return "suppressed"
    return "proof" if proof_of(finding) else "suspicion"


_STRENGTH: Final[tuple[Proof, ...]] = ("bait-left", "chain", "act")
_PROVES: Final = {
    "chain": "a chain of acts, each its own",
    "act": "an act of its own that has no harmless reason",
}


def _told(findings: Sequence[Finding]) -> list[str]:
    """One sentence for each level, title and standing, with where it happened."""
    places: dict[tuple[str, str, str], dict[str, None]] = {}
    for finding in findings:
        place = finding.phase if finding.actor == "target" else f"{finding.phase} by {finding.actor}"
        places.setdefault((finding.level, finding.title, _standing(finding)), {})[place] = None
    return [f"{level}: {title} ({', '.join(where)}){standing}" for (level, title, standing), where in places.items()]


def _suppressed(findings: Sequence[Finding]) -> tuple[str, ...]:
    """One sentence for each suppression that took something out of the verdict."""
    found: dict[str, None] = {}
    for finding in findings:
        if weigh(finding) == "suppressed" and (by := finding.suppression) is not None:
            why = f"{by.reason} ({by.author}, until {by.expires})"
            found[f"suppressed: {finding.level}: {finding.title} ({finding.phase}): {why}"] = None
    return tuple(found)


def _standing(finding: Finding) -> str:
    """Why a critical finding is proof, or why it is none."""
    if finding.level != "critical":
        return "; a rule on trial" if finding.nursery else ""
    if finding.nursery:
        return "; no proof: a rule on trial"
    match proof_of(finding):
        case "bait-left":
            return f"; proof: {_left(finding)}"
        case None:
            return "; no proof: only when called" if finding.owned else "; no proof: not done by the package itself"
        case kind:
            return f"; proof: {_PROVES[kind]}"


def _left(finding: Finding) -> str:
    secrets = _secrets(finding)
    more = f" and {len(secrets) - _NAMED} more" if len(secrets) > _NAMED else ""
    places = dict.fromkeys(filter(None, (_destination(event) for event in finding.evidence)))
    where = f" for {next(iter(places))}" if places else ""
    return f"{', '.join(secrets[:_NAMED])}{more} left{where}"


def _secrets(finding: Finding) -> list[str]:
    """The planted secrets that left in a finding's events, as `name/encoding`."""
    return sorted({label for event in finding.evidence for label in bait_left(event)})


def _destination(event: AnyEvent) -> str:
    """Where an event of the network went: a host, the end of a name, or an address."""
    name = getattr(event, "host", "") or getattr(event, "sni", "")
    # The front of a name that is looked up may be what was stolen.
    name = name or ".".join(getattr(event, "name", "").rsplit(".", 2)[-2:])
    return name or getattr(event, "ip", "")


def _is_beacon(findings: Sequence[Finding]) -> bool:
    """Whether all that was found is that facts about the host went to an unknown one."""
    return any(finding.beacon == "whole" for finding in findings) and all(finding.beacon for finding in findings)


def _beacon(findings: Sequence[Finding]) -> str:
    hosts = (_destination(event) for finding in findings for event in finding.evidence)
    where = next((host for host in hosts if host), "an unknown host")
    return f"dependency-confusion beacon: facts about the host went to {where}, and nothing else counts against it"
