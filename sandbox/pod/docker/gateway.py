"""The gateway's container: no network but its own sealed one, the host's Python read-only, one capability to serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import docker.types

from sandbox.errors import PodError
from sandbox.pod import gateway_files
from sandbox.pod.docker.engine import explained
from sandbox.pod.docker.labels import labels, remove
from sandbox.pod.docker.mounts import bind, python
from sandbox.pod.docker.streams import STDERR, STDOUT, Streams
from sandbox.pod.surroundings import our_environment
from sandbox.pod.tracee import REGISTRY_SOCKET

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from sandbox.pod.interface import PodPlan
    from sandbox.pod.tools import Tools

_MEGABYTE = 1 << 20
_READY_SECONDS = 60
_STOP_SECONDS = 10
_LOG_BYTES = 1 << 16
_MEMORY_MB = 512
_PROCESSES = 64


class GatewayContainer:
    """Seals the pod's network namespace, holds it, and serves in it."""

    def __init__(self, client: DockerClient, image: str, attempt: str, plan: PodPlan, directory: Path) -> None:
        """Prepare; nothing is started.

        Args:
            client: The engine.
            image: Id of the gateway's image.
            attempt: Random id of the pod, for names and labels.
            plan: What the gateway is told.
            directory: Existing private directory for its records.
        """
        self._client = client
        self._image = image
        self._attempt = attempt
        self._plan = plan
        self._directory = directory
        self._streams: Streams | None = None
        self._container: Container | None = None
        self.name = f"fumehood-{attempt}-gateway"

    def start(self, tools: Tools) -> None:
        """Start it and wait until it serves.

        Raises:
            PodError: It does not.
        """
        config = gateway_files.write(self._plan, self._directory, REGISTRY_SOCKET, until_eof=True)
        command = (tools.ip, tools.nft, tools.setpriv, str(os.getuid()), str(config))
        with explained("start the gateway's container"):
            self._container = container = self._client.containers.create(
                self._image,
                entrypoint=[sys.executable, "-P", "-m", "sandbox.pod.docker.seal"],
                command=list(command),
                name=self.name,
                hostname=self._plan.hostname,
                labels=labels(self._plan.run, self._attempt, "gateway"),
                environment=our_environment(),
                working_dir="/",
                network_mode="none",
                runtime="runc",
                read_only=True,
                tmpfs={"/tmp": f"size={16 * _MEGABYTE},mode=1777"},  # noqa: S108 - in the container
                mounts=self._mounts(),
                sysctls=_sysctls(),
                cap_drop=["ALL"],
                # The engine's own system call filter stays: nothing here runs under a tracer, or is the package's.
                # Given up, but for NET_RAW, before the first package byte is read.
                cap_add=["NET_ADMIN", "NET_RAW", "SETUID", "SETGID", "SETPCAP"],
                security_opt=["no-new-privileges"],
                mem_limit=_MEMORY_MB * _MEGABYTE,
                memswap_limit=_MEMORY_MB * _MEGABYTE,
                pids_limit=_PROCESSES,
                nano_cpus=1_000_000_000,
                stdin_open=True,
                log_config=docker.types.LogConfig(type="none"),
                auto_remove=True,
            )
            connection = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            log = self._directory / "log"
            self._streams = Streams(connection, {STDOUT: self._directory / "said", STDERR: log}, _LOG_BYTES)
            self._streams.start()
            container.start()
        self._streams.line.wait(_READY_SECONDS)
        if (self._directory / "said").read_bytes() != b"ready\n":
            lines = log.read_text(errors="backslashreplace").strip().splitlines()
            raise PodError(f"the gateway did not start: {lines[-1][:300] if lines else 'it said nothing'}")

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._streams is not None and self._streams.is_alive()

    def stop(self) -> None:
        """End it in order, so that it writes what is pending; then make sure, also when the former fails."""
        try:
            if self._streams is not None:
                self._streams.close_input()
                self._streams.close(_STOP_SECONDS)
                self._streams = None
        finally:
            container, self._container = self._container, None
            if container is not None:
                remove(self._client, str(container.id))

    def _mounts(self) -> list[docker.types.Mount]:
        """What it sees of the host: Python and our code read-only, its own directory, the registry socket."""
        directory = bind(self._directory, self._directory, writable=True)
        return [*python(), bind(self._plan.gateway.registry_socket, REGISTRY_SOCKET), directory]


def _sysctls() -> dict[str, str]:
    """A network as on any machine; the engine would switch IPv6 off, and let everyone ping and take low ports."""
    wanted = {"net.ipv4.ip_unprivileged_port_start": "1024", "net.ipv4.ping_group_range": "1 0"}
    if Path("/proc/sys/net/ipv6").exists():
        wanted |= dict.fromkeys((f"net.ipv6.conf.{name}.disable_ipv6" for name in ("all", "default", "lo")), "0")
    return wanted
