"""The manifest of an evidence bundle: what ran, with what, and how each phase ended."""

from __future__ import annotations

from typing import Literal

import msgspec

BUNDLE_SCHEMA = "fumehood.bundle/1"

PHASES = ("dependencies", "install", "startup", "import", "exercise", "linger")
"""Names of the phases, in the order in which they run."""

LimitName = Literal[
    "cpu", "memory", "processes", "disk", "trace", "output", "gateway-bytes", "connections", "evidence-disk"
]

PhaseStatus = Literal["completed", "failed", "timed-out", "killed", "oom", "not-run"]


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of the manifest: unknown keys are refused."""


class Package(Model, frozen=True, kw_only=True):
    """What was analysed."""

    purl: str
    ecosystem: str
    name: str
    version: str
    filename: str
    sha256: str
    kind: Literal["sdist", "wheel"]
    origin: Literal["index", "file"]


class Coverage(Model, frozen=True, kw_only=True):
    """How far a phase that works through many units (modules, scripts) came."""

    unit: str
    planned: int
    reached: int
    failed: tuple[str, ...] = ()
    """Units that were tried and raised or exited non-zero: normal for optional imports."""
    timed_out: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()


class LimitHit(Model, frozen=True, kw_only=True):
    """A limit that was reached while a phase ran."""

    name: LimitName
    limit: int
    """What there may be at most; for `evidence-disk` what must be left."""
    seen: int
    """What there was when somebody looked: usually a little more than the limit."""
    unit: Literal["bytes", "seconds", "processes", "connections"]
    """Unit of the numbers."""
    lost: int = 0
    """What was not kept or not answered, where that is what happens at the limit."""
    what: str = ""
    """Which of several: the output's stream, or whose processes when they are not the phase's own."""
    ended: bool = False
    """The phase was ended for it."""


class Phase(Model, frozen=True, kw_only=True):
    """One stage of the run and how it ended."""

    name: str
    status: PhaseStatus
    reason: str = ""
    exit_code: int | None = None
    started: float = 0.0
    """Seconds since the epoch, on the tracer's clock."""
    ended: float = 0.0
    argv: tuple[str, ...] = ()
    """The command as it ran inside the pod; the process that executes exactly this is the phase's root."""
    trace: str = ""
    """Name of the trace file in the bundle; empty when the phase has none of its own."""
    trace_complete: bool = True
    """False when the tracer failed, was killed, or the trace was cut at its limit."""
    output_truncated: bool = False
    survivors: int = 0
    """Processes still alive when the phase's root had ended."""
    limits: tuple[LimitHit, ...] = ()
    """Limits that were reached. Those of the gateway are not here but in its record."""
    coverage: Coverage | None = None


class Bait(Model, frozen=True, kw_only=True):
    """One planted fake secret. Lives in the bundle's `bait.json`, never in a report."""

    name: str
    kind: str
    """Family, e.g. `aws`, `github`, `ssh`, `environment`, `metadata`."""
    where: str
    """Path in the pod, `env:NAME`, or `http:` for values that only the metadata service gives."""
    value: str


class Image(Model, frozen=True, kw_only=True):
    """The root filesystem the tracee ran in."""

    name: str
    digest: str
    python: str
    pip: str


class Profile(Model, frozen=True, kw_only=True):
    """The profile by name and digest; its text is in the bundle as `profile.yaml`."""

    name: str
    sha256: str


class Isolation(Model, frozen=True, kw_only=True):
    """How the pod was sealed on this machine."""

    pod: str
    """`bubblewrap` or `docker`."""
    kernel: str
    outer_user: Literal["root", "user"]
    uid_ranges: int
    """Number of mapped uid ranges: 2 when the tracee has a host uid of its own."""
    runtime: str = ""
    """Container runtime, e.g. `runc`, `runsc`; empty for the embedded pod."""
    tracer_mode: str = "seccomp-bpf"
    """How the tracer caught calls: `seccomp-bpf`, or `every-call` where the former loses some."""
    self_test: str = ""
    """`passed`: on this machine such a pod was seen to lose nothing; `not-completed`: that is not known. Empty in
    bundles that are older than the test."""


class FileEntry(Model, frozen=True, kw_only=True):
    """A file of the bundle as stored (compressed when its name ends in `.zst`)."""

    sha256: str
    size: int


class Manifest(Model, frozen=True, kw_only=True):
    """`manifest.json`, written last."""

    schema: str
    run: str
    """Random id of the run."""
    created: str
    """RFC 3339, UTC."""
    fumehood: str
    package: Package
    profile: Profile
    image: Image
    isolation: Isolation
    tools: dict[str, str]
    """Versions by name: strace, bwrap, python, fumehood's libraries that matter."""
    registry_hosts: tuple[str, ...]
    """Hosts that counted as the registry in this run."""
    home: str
    """The tracee's home directory."""
    site_packages: str
    """Where the package was installed, in the pod."""
    user: str
    phases: tuple[Phase, ...]
    notes: tuple[str, ...] = ()
    """What a reader of the report should know about the artefact, one sentence each."""
    interrupted: bool = False
    files: dict[str, FileEntry]
