"""A started pod for tests: the real tracer, the real gateway, no registry."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from sandbox.bait import plant
from sandbox.gateway.ca import create_authority
from sandbox.phases import pypi
from sandbox.pod.interface import GatewayPlan, PhaseCommand, PodPlan
from sandbox.profile import Limits, PhaseBudget, load_profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from collector.manifest import Phase
    from sandbox.images import BaseImage
    from sandbox.pod.interface import Pod


StartPod: TypeAlias = "Callable[..., AbstractContextManager[Bench]]"
"""Takes limits by name, gives a started pod."""


PATIENCE = 240
"""Budget in seconds of a phase that ends by itself: no machine is too busy for that."""


class Bench:
    """A started pod, its directory, and a short way to run a command in it."""

    def __init__(self, pod: Pod, directory: Path) -> None:
        self.pod = pod
        self.directory = directory
        self._count = 0

    def run(self, *argv: str, seconds: int = PATIENCE) -> Phase:
        self._count += 1
        command = PhaseCommand(name=f"p{self._count}", argv=argv, budget=PhaseBudget(seconds=seconds))
        return self.pod.run(command, print)

    def python(self, code: str, seconds: int = PATIENCE) -> Phase:
        return self.run("/usr/bin/python3", "-c", code, seconds=seconds)

    def output(self, phase: Phase, stream: str = "stdout") -> str:
        return (self.directory / "output" / f"{phase.name}.{stream}").read_text()

    def trace(self, phase: Phase) -> str:
        return (self.directory / "traces" / f"{phase.name}.strace").read_text(errors="backslashreplace")


def make_plan(base_image: BaseImage, directory: Path, **limits: int) -> PodPlan:
    profile = load_profile("pypi")
    artefact = directory / "thing.whl"
    artefact.write_bytes(b"not run")
    socket = directory / "no-registry.sock"
    socket.touch()
    planted = plant(profile)
    environment = pypi.Environment(home=profile.persona.home, python=base_image.image.python)
    authority = create_authority()
    return PodPlan(
        run=secrets.token_hex(8),
        rootfs=base_image.rootfs,
        artefact=artefact,
        user=profile.persona.user,
        hostname=planted.host,
        files={**environment.files(), **planted.files},
        private=frozenset(planted.private),
        links=environment.links(),
        environment=pypi.variables(environment, profile, planted.environment),
        pip_conf=b"",
        limits=msgspec.convert({**msgspec.to_builtins(profile.limits), **limits}, Limits),
        interrupted=lambda: False,
        gateway=GatewayPlan(
            registry_socket=socket,
            registry_hosts=(),
            metadata=planted.metadata,
            certificate_pem=authority.certificate_pem,
            key_pem=authority.key_pem,
        ),
    )
