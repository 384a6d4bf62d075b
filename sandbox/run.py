"""The job: one package under one profile, from its name to a sealed evidence bundle."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
import structlog

from collector.baseline import BASELINE
from collector.dropped import DROPPED
from collector.manifest import BUNDLE_SCHEMA, Isolation, Manifest, Phase
from collector.manifest import Profile as ProfileRecord
from sandbox import baselines, images, versions
from sandbox.bait import Planted, plant
from sandbox.bundle import BundleWriter
from sandbox.errors import SandboxError
from sandbox.gateway.ca import create_authority
from sandbox.images import BaseImage
from sandbox.intake import Artefact, PipConfiguration, read_pip_configuration, resolve
from sandbox.interruption import Interruption
from sandbox.phases import pypi
from sandbox.pod import choose, dropped, outcome
from sandbox.pod.interface import GatewayPlan, Pod, PodPlan, Sample
from sandbox.profile import Profile
from sandbox.registry.cache import Cache
from sandbox.registry.fetch import Fetcher
from sandbox.registry.proxy import RegistryProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.pod.interface import PhaseCommand
    from sandbox.settings import Settings
    from sandbox.terminal.progress import Progress

_log = structlog.get_logger(__name__)
_INSTALLING = frozenset({"dependencies", "install"})


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    package: str
    """A purl or the path of a local sdist or wheel."""
    artefact: Literal["sdist", "wheel", "auto"]
    profile: Profile
    pod: choose.Wanted = choose.Wanted()


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is made from, once everything is at hand."""

    identifier: str
    created: datetime
    profile: Profile
    image: BaseImage
    artefact: Artefact
    planted: Planted
    environment: pypi.Environment
    configuration: PipConfiguration
    pod: choose.Wanted

    @property
    def reaches_registry(self) -> bool:
        """Whether the pod may fetch packages: the profile's choice, and there is an index to ask."""
        configured = bool(self.configuration.index_urls()) and not self.configuration.no_index
        return self.profile.egress.registry and configured

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about how packages were fetched."""
        ignored = self.configuration.ignored
        return (f"settings of pip that were not consulted: {', '.join(ignored)}",) if ignored else ()

    @property
    def registry_hosts(self) -> tuple[str, ...]:
        """Hosts that are the registry: the client's defaults, recorded in the image, and the configured indexes."""
        configured = (urlsplit(url).hostname or "" for url in self.configuration.index_urls())
        return tuple(sorted({*self.image.registry_hosts, *configured} - {""}))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks whoever started it, and tells beside its progress."""

    to_stop: Callable[[], bool] = lambda: False
    """Now and then: whether to end early. What was seen until then is sealed, as after Ctrl-C."""
    about: Callable[[Artefact], None] = lambda _artefact: None
    """Once it is known what would run; an error raised here ends the run before it begins."""
    orphans_removed: Callable[[int], None] = lambda _count: None
    """As `PodPlan.orphans_removed`."""


def run(
    job: Job, settings: Settings, progress: Progress, meanwhile: Callable[[], None], asked: Asked | None = None
) -> Path:
    """Run a package and leave its evidence.

    Args:
        job: The package and its profile.
        settings: Where caches and bundles are.
        progress: Told what is going on.
        meanwhile: Called once the pod has started. From then on the worker waits far more than it computes, so this is
            the time to begin other work in a thread.
        asked: What to ask while it goes on.

    Returns:
        The sealed bundle's directory.

    Raises:
        SandboxError: The package cannot be had, or the pod cannot be started; nothing is left behind.
    """
    asked = asked or Asked()
    configuration = read_pip_configuration()
    image = images.ensure(job.profile.image, settings.cache, progress.step)
    if job.package.startswith("pkg:"):
        progress.step(f"fetching {job.package}")
    else:
        # Whoever watches may be far away: where files are on this machine is nothing to them.
        progress.step(f"checking {job.package.rpartition('/')[2]}")
    identifier = secrets.token_hex(8)
    with (
        structlog.contextvars.bound_contextvars(run=identifier),
        _room_for_evidence(settings.bundles),
        BundleWriter(settings.bundles, identifier) as bundle,
    ):
        artefact = resolve(
            job.package,
            artefact=job.artefact,
            configuration=configuration,
            cache=settings.cache,
            copies=bundle.directory / "artefact",
            python=image.image.python,
        )
        asked.about(artefact)
        this = _Run(
            identifier=identifier,
            created=datetime.now(UTC),
            profile=job.profile,
            image=image,
            artefact=artefact,
            planted=plant(job.profile),
            environment=pypi.Environment(home=job.profile.persona.home, python=image.image.python),
            configuration=configuration,
            pod=job.pod,
        )
        _log.info("run starts", purl=artefact.purl, sha256=artefact.sha256)
        evidence = _run_in_pod(this, settings, bundle.directory, progress, meanwhile, asked)
        progress.step("sealing the evidence")
        return _seal(
            this, evidence, bundle, baselines.find(settings.cache, this.image.image.digest, evidence.isolation)
        )


@contextmanager
def _room_for_evidence(bundles: Path) -> Iterator[None]:
    """Say what to do when the disk is full; any other fault of the disk is passed on."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        message = f"the evidence cannot be written: {error.strerror}; free some space below {bundles}"
        raise SandboxError(f"{message}, or set FUMEHOOD_BUNDLES") from error


class _Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of the pod, beside the files in the run's directory."""

    phases: tuple[Phase, ...]
    interrupted: bool
    isolation: Isolation
    samples: tuple[Sample, ...]
    registry_hosts: tuple[str, ...]


def _run_in_pod(  # noqa: PLR0913, PLR0917 - what `run` was given
    this: _Run, settings: Settings, directory: Path, progress: Progress, meanwhile: Callable[[], None], asked: Asked
) -> _Evidence:
    with ExitStack() as stack:
        socket = directory / "registry.sock"
        proxy = None
        if this.reaches_registry:
            fetcher = stack.enter_context(
                Fetcher(this.configuration.fetch_settings(), Cache(settings.cache / "registry"))
            )
            records = directory / "registry.jsonl"
            proxy = stack.enter_context(RegistryProxy(socket, records, fetcher, this.image.default_index_url))
        else:
            socket.touch()
        interruption = stack.enter_context(Interruption(asked.to_stop))
        plan = _pod_plan(this, socket, interruption, asked.orphans_removed)
        pod = stack.enter_context(choose.choose(this.pod, plan, directory, settings.cache, progress.step))
        meanwhile()
        phases = _run_phases(this, pod, progress, interruption)
        # What pip has unpacked counts as installed up to here; a phase that was not run ended at 0.
        settled = max((phase.ended for phase in phases if phase.name in _INSTALLING), default=0.0)
        pod.list_dropped(this.environment.site_packages, settled)
        unfinished = pod.stop()
        return _Evidence(
            phases=tuple(
                msgspec.structs.replace(phase, trace_complete=phase.trace_complete and phase.name not in unfinished)
                for phase in phases
            ),
            interrupted=bool(interruption),
            isolation=pod.isolation,
            samples=pod.samples(),
            registry_hosts=tuple(sorted({*this.registry_hosts, *(proxy.link_hosts if proxy else ())})),
        )


def _seal(this: _Run, evidence: _Evidence, bundle: BundleWriter, baseline: bytes | None) -> Path:
    directory = bundle.directory
    for phase in evidence.phases:
        if phase.trace:
            bundle.add_file(phase.trace, directory / phase.trace.removesuffix(".zst"))
            for stream in ("stdout", "stderr"):
                bundle.add_file(f"output/{phase.name}.{stream}.zst", directory / "output" / f"{phase.name}.{stream}")
    bundle.add_file("gateway.jsonl.zst", directory / "gateway" / "gateway.jsonl")
    bundle.add_file("capture.pcapng.zst", directory / "gateway" / "capture.pcapng")
    bundle.add_file("registry.jsonl.zst", directory / "registry.jsonl")
    bundle.add_file(DROPPED, directory / dropped.FILE)
    bundle.add("resources.jsonl.zst", b"".join(msgspec.json.encode(sample) + b"\n" for sample in evidence.samples))
    bundle.add("bait.json", msgspec.json.encode(this.planted.baits) + b"\n")
    if baseline is not None:
        bundle.add(BASELINE, baseline)
    bundle.add("profile.yaml", this.profile.text.encode())
    artefact = this.artefact
    return bundle.seal(
        _manifest(this, evidence), f"{artefact.name}-{artefact.version}-{artefact.kind}-{this.identifier}"
    )


def _run_phases(this: _Run, pod: Pod, progress: Progress, interruption: Interruption) -> tuple[Phase, ...]:
    """Every phase is tried, whatever became of the one before; an interruption ends them all."""
    profile, artefact = this.profile, this.artefact
    commands = {
        command.name: command
        for command in pypi.commands(this.environment, profile, artefact.name, artefact.filename, artefact.requires)
    }
    phases: list[Phase] = []
    for name, budget in profile.phases.items():
        if interruption:
            phases.append(Phase(name=name, status="not-run", reason=outcome.INTERRUPTED_REASON))
            continue
        progress.phase_started(name, budget.seconds)
        phase = _run_phase(name, commands.get(name), budget.seconds, pod, progress)
        phases.append(phase)
        progress.phase_ended(name, phase.status, phase.ended - phase.started)
    return tuple(phases)


def _run_phase(name: str, command: PhaseCommand | None, seconds: float, pod: Pod, progress: Progress) -> Phase:
    if name == "linger":
        return pod.linger(seconds)
    if command is None:
        return Phase(name=name, status="completed", reason="the artefact depends on nothing")
    return pod.run(command, progress.phase_note)


def _pod_plan(this: _Run, socket: Path, interruption: Interruption, orphans_removed: Callable[[int], None]) -> PodPlan:
    authority = create_authority()
    return PodPlan(
        run=this.identifier,
        rootfs=this.image.rootfs,
        artefact=this.artefact.path,
        user=this.profile.persona.user,
        hostname=this.planted.host,
        files={**this.environment.files(), **this.planted.files},
        private=frozenset(this.planted.private),
        links=this.environment.links(),
        environment=pypi.variables(this.environment, this.profile, this.planted.environment),
        pip_conf=pypi.pip_conf(this.configuration.index_urls(), this.image.default_index_url),
        limits=this.profile.limits,
        interrupted=lambda: bool(interruption),
        orphans_removed=orphans_removed,
        gateway=GatewayPlan(
            registry_socket=socket,
            registry_hosts=this.registry_hosts if this.reaches_registry else (),
            metadata=this.planted.metadata,
            certificate_pem=authority.certificate_pem,
            key_pem=authority.key_pem,
        ),
    )


def _manifest(this: _Run, evidence: _Evidence) -> Manifest:
    return Manifest(
        schema=BUNDLE_SCHEMA,
        run=this.identifier,
        created=this.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        fumehood=versions.fumehood(),
        package=this.artefact.package(),
        profile=ProfileRecord(name=this.profile.name, sha256=this.profile.sha256),
        image=this.image.image,
        isolation=evidence.isolation,
        tools=versions.tools(),
        registry_hosts=evidence.registry_hosts,
        home=this.environment.home,
        site_packages=this.environment.site_packages,
        user=this.profile.persona.user,
        phases=evidence.phases,
        notes=this.artefact.notes + this.notes,
        interrupted=evidence.interrupted,
        files={},
    )
