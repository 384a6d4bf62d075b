"""What a run needs from a pod, whatever it is made of: start, run a phase, collect, stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from collector import resources
from sandbox.profile import Limits, PhaseBudget
from sandbox.tracer import TracerMode

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from collector.manifest import Isolation, Phase


class GatewayPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway is told about this run."""

    registry_socket: Path
    registry_hosts: tuple[str, ...]
    metadata: Mapping[str, str]
    certificate_pem: bytes
    key_pem: bytes


class PodPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a pod is made from."""

    run: str
    """Id of the run, as in its manifest."""
    rootfs: Path
    artefact: Path
    user: str
    hostname: str
    files: Mapping[str, bytes]
    """Files to plant, by path relative to the home directory."""
    private: frozenset[str]
    """Those of `files` that only their owner may read."""
    links: Mapping[str, str]
    """Symbolic links to plant, likewise."""
    environment: Mapping[str, str]
    pip_conf: bytes
    limits: Limits
    interrupted: Callable[[], bool]
    """Asked now and then: whether the user wants the run to end."""
    gateway: GatewayPlan
    tracer_mode: TracerMode = "seccomp-bpf"
    """How the tracer catches calls, as the self-test found it to lose none."""
    orphans_removed: Callable[[int], None] = lambda _count: None
    """Told how many containers of killed runs were removed on the way, if any were; it must not fail."""

    @property
    def home(self) -> str:
        """The tracee's home directory."""
        return f"/home/{self.user}"


class PhaseCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One phase's command inside the pod, and its budget."""

    name: str
    argv: tuple[str, ...]
    budget: PhaseBudget
    reports_coverage: bool = False
    """The command writes one JSON object with its coverage to the descriptor named by `RESULT_FD`."""


Sample: TypeAlias = resources.Sample
"""What the processes of one phase used at one moment."""

RESULT_FD = "{result-fd}"
"""Stands in a command for the number of the descriptor on which a driver reports."""

TRACEE_UID = 1000
"""User and group id of the package, where its pod has a user namespace or a kernel of its own."""


class Pod(Protocol):
    """One run's pod. A context manager: entering starts it, leaving stops it and leaves nothing of it behind."""

    isolation: Isolation

    def __enter__(self) -> Self:
        """Start the gateway and make the tracee's file systems.

        Raises:
            PodError: The kernel or a tool refuses; the message says what to do.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; same as `stop`."""
        ...

    def run(self, command: PhaseCommand, note: Callable[[str], None]) -> Phase:
        """Run one phase to its end or its budget's end; survivors live on, traced, until `stop`."""
        ...

    def linger(self, seconds: float) -> Phase:
        """Watch what still runs or wakes for `seconds`; returns at once when nothing does."""
        ...

    def list_dropped(self, site_packages: str, settled: float) -> None:
        """End every process of the package, then list what it left in its writable places.

        The list is the file `dropped.jsonl` in the run's directory (`sandbox.pod.dropped`). One that could not be
        finished has no `end` in it, one that could not be begun is not there.

        Args:
            site_packages: Directory in the tracee into which packages are installed.
            settled: When the installation had ended, in seconds since the epoch; 0 when there was none.
        """
        ...

    def stop(self) -> tuple[str, ...]:
        """End every process of the pod. Returns names of phases whose trace the tracer did not finish."""
        ...

    def samples(self) -> tuple[Sample, ...]:
        """Resource samples taken so far."""
        ...
