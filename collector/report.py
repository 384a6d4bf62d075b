"""The report of one run, as data: versioned, bounded, without secrets, and the same bytes for the same bundle."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from collector.attempts import Network
from collector.baseline import BaselineReport
from collector.capture import CaptureReport
from collector.dropped_report import DroppedReport
from collector.events import Source
from collector.hints import Hints
from collector.manifest import Image, Isolation, LimitHit, Package, PhaseStatus, Profile
from collector.resources import ResourceReport
from collector.suppressions import Outcome, Suppression
from collector.tree import ProcessTree
from collector.verdict import Classification, Proof, VerdictName, Weight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.sigma.rule import RuleSet

SCHEMA: Final = "fumehood.report/1"


class TraceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How well a phase was seen."""

    file: str
    """Name in the bundle; empty for a phase without a trace of its own."""
    lines: int
    unparsed: int
    """Lines that were not understood, or that could not be told to be the package's."""
    first_unparsed_line: int | None
    truncated: int
    """Calls with a string or an argument list that the tracer cut at its limit."""
    complete: bool
    """False when the tracer failed, was killed, or the trace was cut."""


class CoverageReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many of its units (modules, scripts) a phase reached."""

    unit: str
    planned: int
    reached: int
    failed: tuple[str, ...]
    """Tried, but raised or exited non-zero: usual for optional imports."""
    timed_out: tuple[str, ...]
    unreached: tuple[str, ...]
    omitted: int
    """Names left out of the three lists because there were too many."""


class PhaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the run and how it ended."""

    name: str
    status: PhaseStatus
    reason: str
    exit_code: int | None
    seconds: float
    trace: TraceReport
    survivors: int
    """Processes still alive when the phase's own command had ended."""
    limits: tuple[LimitHit, ...]
    """Limits that were reached, the gateway's included, in order of name."""
    output_truncated: bool
    resources: ResourceReport | None
    """What it used of the machine; `null` when no sample was taken."""
    coverage: CoverageReport | None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a finding rests on."""

    event: str
    """The event in text form, as `fumehood events` prints it."""
    source: Source | None
    """The file and the line in the bundle that prove it."""


class Technique(msgspec.Struct, frozen=True, kw_only=True):
    """An ATT&CK technique by id and name."""

    id: str
    name: str
    """E.g. `Unsecured Credentials: Credentials In Files`; empty for one that our table does not have."""


class FindingReport(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that fired."""

    rule: str
    """The rule's Sigma id."""
    name: str
    """The rule's file name without its ending."""
    title: str
    level: Literal["informational", "low", "medium", "high", "critical"]
    nursery: bool
    """The rule is on trial, or by others (`--sigma`): alone it makes nothing worse than `suspicious`."""
    attack: tuple[str, ...]
    """ATT&CK technique ids, e.g. `T1552.001`."""
    techniques: tuple[Technique, ...]
    """The same with their names, as of the version in `attack_version`."""
    suppression: Suppression | None
    """The suppression because of which it does not count; `null` for all others."""
    weight: Weight
    """How it counts for the verdict: `proof` makes it `malicious`, `suspicion` makes it `suspicious`."""
    phase: str
    actor: str
    count: int
    """How many events show it, in this phase by this actor."""
    why: str
    """Why it matters, in the words of the rule's author."""
    normal: str
    """What would have been normal instead, in the same words; may be empty."""
    falsepositives: tuple[str, ...]
    """What harmless things can look like this, as far as its author knows."""
    evidence: tuple[Evidence, ...]
    omitted: int
    """Events of the finding that are not listed as evidence."""


class SuppressionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A suppression for the package of the run, and what became of it."""

    package: str
    versions: str
    rule: str
    reason: str
    author: str
    expires: str
    """The last day on which it holds."""
    outcome: Outcome
    findings: int
    """How many findings it took out of the verdict."""


class BaitReport(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A planted secret, without its value."""

    name: str
    kind: str
    where: str


class SigmaReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rules by others that were given (`--sigma`)."""

    loaded: int = 0
    skipped: int = 0
    """Those that cannot run here; `fumehood rules list --sigma` says why."""

    @classmethod
    def of(cls, rules: RuleSet) -> SigmaReport:
        """Count them in a set of rules."""
        return cls(loaded=sum(rule.foreign for rule in rules.rules), skipped=len(rules.skipped))


NONE_BY_OTHERS: Final = SigmaReport()


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """With what the run was made: what one needs to repeat it."""

    run: str
    created: str
    """RFC 3339, UTC."""
    fumehood: str
    tools: dict[str, str]
    image: Image
    isolation: Isolation
    registry_hosts: tuple[str, ...]
    profile_sha256: str
    rules_sha256: str
    sigma: SigmaReport
    suppressions_sha256: str
    """Digest of the suppressions that were given; empty for none."""
    home: str
    user: str
    bait: tuple[BaitReport, ...]
    notes: tuple[str, ...]
    """What a reader should know about the artefact, one sentence each."""
    interrupted: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a package did, and how sure that is."""

    schema: Literal["fumehood.report/1"] = SCHEMA
    verdict: VerdictName
    reasons: tuple[str, ...]
    """Sentences: the findings that make the verdict, then everything that was not seen."""
    proof: tuple[Proof, ...]
    """What proves a verdict `malicious`, the strongest first: a planted secret left (`bait-left`), acts that together
    mean one thing (`chain`), one act that means it alone (`act`)."""
    classification: Classification
    """What sort of package it is, where the findings say so, else empty."""
    attack_version: str
    """Version of MITRE ATT&CK that the names of techniques are from."""
    package: Package
    profile: Profile
    phases: tuple[PhaseReport, ...]
    findings: tuple[FindingReport, ...]
    """The worst first."""
    suppressions: tuple[SuppressionReport, ...]
    """Those that were given for this package, in their order."""
    network: Network
    capture: CaptureReport | None = None
    """What the gateway's capture shows; `null` for a bundle that is older than captures."""
    processes: ProcessTree
    dropped: DroppedReport | None = None
    """What the package left on the file system; `null` for a bundle that is older than such lists."""
    baseline: BaselineReport | None
    """How many events are as in an empty package; `null` when no baseline was recorded for the image and the pod."""
    hints: Hints
    """What it looked for and did not find: what to give it in the next run."""
    events: dict[str, int]
    """Number of events by kind."""
    manifest: RunReport


_UNSAFE: Final = re.compile(
    "[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What JSON lets through but a terminal obeys or hides: C1 controls, direction marks, invisible characters."""


def to_json(report: Report) -> bytes:
    """Encode a report: indented, the same bytes for the same report, safe to print, with a newline at the end."""
    text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    return _UNSAFE.sub(_escape, text).encode() + b"\n"


def _escape(match: re.Match[str]) -> str:
    # Outside strings JSON has none of these characters, so every one found may be written as an escape.
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a report (draft 2020-12), in which every field is required: none is left out."""
    document = msgspec.json.schema(Report)
    for part in _objects(document):
        part["required"] = sorted(part["properties"])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA}
    return head | document


def _objects(part: object) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict):
            yield part
        for item in part.values():
            yield from _objects(item)
    elif isinstance(part, list):
        for item in part:
            yield from _objects(item)
