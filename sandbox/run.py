"""The job: one package under one profile, from its name to a sealed evidence bundle."""

from __future__ import annotations

import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from collector.manifest import BUNDLE_SCHEMA, Manifest, Phase
from collector.manifest import Package as PackageRecord
from collector.manifest import Profile as ProfileRecord
from sandbox import images, versions
from sandbox.bait import Planted, plant
from sandbox.bundle import BundleWriter
from sandbox.gateway.ca import create_authority
from sandbox.intake import Artefact, PipConfiguration, read_pip_configuration, resolve
from sandbox.phases import pypi
from sandbox.pod.bubblewrap import BubblewrapPod
from sandbox.pod.interface import GatewayPlan, Pod, PodPlan
from sandbox.registry.cache import Cache
from sandbox.registry.fetch import Fetcher, FetchSettings
from sandbox.registry.proxy import RegistryProxy

if TYPE_CHECKING:
    from sandbox.images import BaseImage
    from sandbox.pod.interface import PhaseCommand
    from sandbox.profile import Profile
    from sandbox.settings import Settings
    from sandbox.terminal.progress import Progress

_log = structlog.get_logger(__name__)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    package: str
    """A purl or the path of a local sdist or wheel."""
    artefact: Literal["sdist", "wheel", "auto"]
    profile: Profile


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is made from, once everything is at hand."""

    identifier: str
    created: datetime
    profile: Profile
    image: BaseImage
    artefact: Artefact
    planted: Planted
    environment: pypi.Environment


def run(job: Job, settings: Settings, progress: Progress) -> Path:
    """Run a package and leave its evidence.

    Args:
        job: The package and its profile.
        settings: Where caches and bundles are.
        progress: Told what is going on.

    Returns:
        The sealed bundle's directory.

    Raises:
        SandboxError: The package cannot be had, or the pod cannot be started; nothing is left behind.
    """
    configuration = read_pip_configuration(os.environ)
    image = images.ensure(job.profile.image, settings.cache, progress.step)
    progress.step(f"fetching {job.package}")
    with Fetcher(_fetch_settings(configuration), Cache(settings.cache / "registry")) as fetcher:
        artefact = resolve(job.package, artefact=job.artefact, configuration=configuration, fetcher=fetcher)
        this = _Run(
            identifier=secrets.token_hex(8),
            created=datetime.now(UTC),
            profile=job.profile,
            image=image,
            artefact=artefact,
            planted=plant(job.profile),
            environment=pypi.Environment(home=job.profile.persona.home, python=image.image.python),
        )
        _log.info("run starts", run=this.identifier, purl=artefact.purl, sha256=artefact.sha256)
        with BundleWriter(settings.bundles, this.identifier) as bundle:
            return _run_in_pod(this, configuration, fetcher, bundle, progress)


def _run_in_pod(
    this: _Run, configuration: PipConfiguration, fetcher: Fetcher, bundle: BundleWriter, progress: Progress
) -> Path:
    evidence = bundle.directory
    # The socket's path must be short (108 bytes), which the bundles' directory need not be.
    with tempfile.TemporaryDirectory(prefix="fumehood-") as short:
        socket = Path(short) / "registry.sock"
        hosts = tuple(sorted({*this.image.registry_hosts, *configuration.hosts}))
        with RegistryProxy(
            socket, fetcher, pod_index_url=this.image.default_index_url, records=evidence / "registry.jsonl"
        ) as proxy:
            plan = _pod_plan(this, configuration, socket, hosts)
            with BubblewrapPod(plan, evidence) as pod:
                phases, interrupted = _run_phases(this, pod, progress)
                unfinished = pod.stop()
                samples = pod.samples()
            hosts = tuple(sorted({*hosts, *proxy.link_hosts}))
    phases = tuple(
        msgspec.structs.replace(phase, trace_complete=phase.trace_complete and phase.name not in unfinished)
        for phase in phases
    )
    for phase in phases:
        if phase.trace:
            bundle.add_file(phase.trace, evidence / phase.trace.removesuffix(".zst"))
            for stream in ("stdout", "stderr"):
                bundle.add_file(f"output/{phase.name}.{stream}.zst", evidence / "output" / f"{phase.name}.{stream}")
    bundle.add_file("gateway.jsonl.zst", evidence / "gateway" / "gateway.jsonl")
    bundle.add_file("registry.jsonl.zst", evidence / "registry.jsonl")
    bundle.add("resources.jsonl.zst", b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))
    bundle.add("bait.json", msgspec.json.encode(this.planted.baits) + b"\n")
    bundle.add("profile.yaml", this.profile.text.encode())
    manifest = _manifest(this, phases, hosts, pod, interrupted=interrupted)
    name = f"{this.artefact.name}-{this.artefact.version}-{this.artefact.kind}-{this.identifier}"
    return bundle.seal(manifest, name)


def _run_phases(this: _Run, pod: Pod, progress: Progress) -> tuple[tuple[Phase, ...], bool]:
    """Every phase is tried, whatever became of the one before; an interruption ends them all."""
    profile, artefact = this.profile, this.artefact
    commands = {
        command.name: command
        for command in pypi.commands(this.environment, profile, artefact.name, artefact.filename, artefact.requires)
    }
    phases: list[Phase] = []
    interrupted = False
    for name, budget in profile.phases.items():
        if interrupted:
            phases.append(Phase(name=name, status="not-run", reason="the run was interrupted"))
            continue
        progress.phase_started(name, budget.seconds)
        try:
            phase = _run_phase(name, commands.get(name), budget.seconds, pod, progress)
        except KeyboardInterrupt:
            interrupted = True
            phase = Phase(name=name, status="not-run", reason="the run was interrupted")
        phases.append(phase)
        progress.phase_ended(name, phase.status, phase.ended - phase.started)
    return tuple(phases), interrupted


def _run_phase(name: str, command: PhaseCommand | None, seconds: float, pod: Pod, progress: Progress) -> Phase:
    if name == "linger":
        return pod.linger(seconds)
    if command is None:
        return Phase(name=name, status="completed", reason="the artefact depends on nothing")
    return pod.run(command, progress.phase_note)


def _fetch_settings(configuration: PipConfiguration) -> FetchSettings:
    return FetchSettings(
        index_urls=(configuration.index_url, *configuration.extra_index_urls),
        ca_file=configuration.certificate,
    )


def _pod_plan(this: _Run, configuration: PipConfiguration, socket: Path, hosts: tuple[str, ...]) -> PodPlan:
    authority = create_authority()
    return PodPlan(
        rootfs=this.image.rootfs,
        artefact=this.artefact.path,
        user=this.profile.persona.user,
        hostname=this.planted.host,
        files={**this.environment.files(), **this.planted.files},
        links=this.environment.links(),
        environment=pypi.variables(this.environment, this.profile, this.planted.environment),
        pip_conf=configuration.for_pod(this.image.default_index_url),
        limits=this.profile.limits,
        gateway=GatewayPlan(
            registry_socket=socket,
            registry_hosts=hosts if this.profile.egress.registry else (),
            metadata=this.planted.metadata,
            certificate_pem=authority.certificate_pem,
            key_pem=authority.key_pem,
        ),
    )


def _manifest(
    this: _Run, phases: tuple[Phase, ...], hosts: tuple[str, ...], pod: Pod, *, interrupted: bool
) -> Manifest:
    artefact = this.artefact
    return Manifest(
        schema=BUNDLE_SCHEMA,
        run=this.identifier,
        created=this.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        fumehood=versions.fumehood(),
        package=PackageRecord(
            purl=artefact.purl,
            ecosystem="pypi",
            name=artefact.name,
            version=artefact.version,
            filename=artefact.filename,
            sha256=artefact.sha256,
            kind=artefact.kind,
            origin=artefact.origin,
        ),
        profile=ProfileRecord(name=this.profile.name, sha256=this.profile.sha256),
        image=this.image.image,
        isolation=pod.isolation,
        tools=versions.tools(),
        registry_hosts=hosts,
        home=this.environment.home,
        site_packages=this.environment.site_packages,
        user=this.profile.persona.user,
        phases=phases,
        interrupted=interrupted,
        files={},
    )
