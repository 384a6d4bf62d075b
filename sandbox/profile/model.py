"""The parts of a profile, with the range of every number."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

PhaseName: TypeAlias = Literal["dependencies", "install", "startup", "import", "exercise", "linger"]
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)
"""Every phase, in the order in which they run."""
UNIT_PHASES: frozenset[PhaseName] = frozenset({"import", "exercise"})
"""Phases that work through many units (modules, scripts), each with a budget of its own."""

Seconds = Annotated[int, Meta(ge=1, le=86_400)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
ShortText = Annotated[str, Meta(min_length=1, max_length=4_096)]
VariableName = Annotated[str, Meta(pattern=r"^(?!PIP_)[A-Za-z_][A-Za-z0-9_]{0,63}$")]
"""An environment variable. `PIP_…` is refused: nothing in a profile may change what pip does."""
HomePath = Annotated[str, Meta(pattern=r"^(?!/)(?!.*(^|/)\.{1,2}(/|$))(?!.*//)[^\x00-\x1f\\]{1,255}(?<!/)$")]
"""A file relative to the home directory."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of a profile."""


class PhaseBudget(Part, frozen=True, kw_only=True):
    """How long a phase may take."""

    seconds: Seconds
    """Wall-clock budget of the whole phase."""
    each: Seconds | None = None
    """Wall-clock budget of one unit, in the phases that have units (`import`, `exercise`)."""


class Limits(Part, frozen=True, kw_only=True):
    """Bounds on what a run may use; all of them are required.

    What a phase's processes use together is looked at many times a second, and the phase is ended when it is too much.
    What one process may use is the kernel's to refuse. Evidence is bounded so that `collector.bundle` reads what a run
    may write: 1 GiB a file.
    """

    memory_mb: Annotated[int, Meta(ge=64, le=1_048_576)]
    """Resident memory of all processes of the pod together, MiB; a page that several share counts once."""
    address_mb: Annotated[int, Meta(ge=64, le=67_108_864)]
    """Address space of one process (RLIMIT_AS), MiB. Programs reserve far more than they use, so this is no bound on
    memory: it stops a single process that would outrun the one above."""
    processes: Annotated[int, Meta(ge=16, le=65_536)]
    """Processes and threads of the tracee's user at one time."""
    file_mb: Annotated[int, Meta(ge=1, le=1_048_576)]
    """Largest file a process may write, MiB."""
    disk_mb: Annotated[int, Meta(ge=16, le=1_048_576)]
    """All that the tracee may write (size of the tmpfs), MiB."""
    open_files: Annotated[int, Meta(ge=64, le=1_048_576)]
    """File descriptors of one process."""
    cpu_seconds: Seconds
    """Processor time of all processes of a phase together, ended ones included."""
    output_kb: Annotated[int, Meta(ge=1, le=1_048_576)]
    """What is kept of each output stream of a phase, KiB."""
    trace_mb: Annotated[int, Meta(ge=1, le=1_000)]
    """Size of one phase's trace, MiB; a phase that would pass it is stopped."""
    gateway_mb: Annotated[int, Meta(ge=1, le=1_000)]
    """What the gateway records in the whole run, MiB."""
    body_kb: Annotated[int, Meta(ge=1, le=16_384)]
    """What the gateway keeps of one message: a body, a stream or a datagram, KiB. A longer one is a gap."""
    connections: Annotated[int, Meta(ge=1, le=1_048_576)]
    """TCP connections that the gateway holds open at one time."""


class Persona(Part, frozen=True, kw_only=True):
    """Whom the package meets."""

    user: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_-]{0,30}$")]
    host: Annotated[str, Meta(pattern=r"^[a-z]([a-z0-9-]|\{hex[1-8]\}){0,62}$")]
    """Host name; `{hex4}` stands for four random hexadecimal digits."""
    timezone: Annotated[str, Meta(pattern=r"^[A-Za-z]+([/_+-][A-Za-z0-9]+){0,6}$")]
    locale: Annotated[str, Meta(pattern=r"^[A-Za-z_.@0-9-]{1,32}$")]
    environment: dict[VariableName, Annotated[str, Meta(max_length=4_096)]] = {}
    """Further variables, no secrets."""

    @property
    def home(self) -> str:
        """Home directory in the pod."""
        return f"/home/{self.user}"


class MetadataPlan(Part, frozen=True, kw_only=True):
    """What the cloud metadata service hands out."""

    role: Name
    template: ShortText
    """Body of the answer that carries the role's credentials, in the AWS form."""
    token: ShortText
    """Access token that the other clouds' services give."""


class BaitPlan(Part, frozen=True, kw_only=True):
    """The planted secrets: `values` are made anew for each run; `{{name}}` in a template stands for one."""

    values: dict[Name, Name]
    """Kind of each value by its name; see `sandbox.bait.KINDS`."""
    files: dict[HomePath, Annotated[str, Meta(max_length=65_536)]] = {}
    environment: dict[VariableName, ShortText] = {}
    metadata: MetadataPlan | None = None


class Egress(Part, frozen=True, kw_only=True):
    """What may be fetched from outside; everything else meets the sinkhole."""

    registry: bool
    """GET and HEAD for registry hosts, through the worker's proxy."""


class ProfileFile(Part, frozen=True, kw_only=True):
    """The keys of a profile file."""

    name: Name
    ecosystem: Literal["pypi"]
    image: Name
    phases: dict[PhaseName, PhaseBudget]
    """All six phases, in the order of `PHASES`."""
    limits: Limits
    persona: Persona
    bait: BaitPlan
    egress: Egress


class Profile(ProfileFile, frozen=True, kw_only=True):
    """One profile, as loaded from a file."""

    text: str
    """The file as it was read."""
    sha256: str
    """Digest of `text` in UTF-8, hexadecimal."""
