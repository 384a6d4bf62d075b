"""The tracee's container: what the package runs in."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import docker.types
import msgspec

from sandbox.errors import PodError
from sandbox.pod import etc
from sandbox.pod.docker.engine import explained
from sandbox.pod.docker.labels import labels, remove
from sandbox.pod.docker.streams import STDERR, STDOUT, Streams
from sandbox.pod.interface import TRACEE_UID

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from sandbox.pod.interface import PodPlan

_MEGABYTE = 1 << 20
_READY_SECONDS = 60
_STOP_SECONDS = 5
_LOG_BYTES = 1 << 16
OURS = 24
"""Processes and threads of a pod that are not the package's: ours, the tracers'."""
_SENTRY_FACTOR = 8
"""A runtime with a kernel of its own needs host threads for each of the package's; they count too."""
_SMALL_MB = 64
_OURS_INSIDE = "/fumehood"
"""A directory that only root can enter."""
_SHARED = ("control", "traces", "output")
"""Directories of the worker's below it."""
TRACES = f"{_OURS_INSIDE}/traces"
_CAPABILITIES = (
    "SYS_PTRACE",  # the tracer's
    "SETUID",  # to become the package's user,
    "SETGID",
    "SETPCAP",  # with an empty bounding set
    "KILL",  # to end what a phase left
    "DAC_OVERRIDE",  # to read the package's /proc entries, and write into the worker's directories
)


class TraceeContainer:
    """A container with a read-only root in the gateway's network namespace."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self, client: DockerClient, image: str, run: str, runtime: str, plan: PodPlan, directory: Path
    ) -> None:
        """Prepare; nothing is started.

        Args:
            client: The engine.
            image: Id of the tracee's image.
            run: Id of the pod.
            runtime: Name of the runtime.
            plan: What to make.
            directory: Existing private directory; gets `control`, `etc`, `traces` and `output` in it.
        """
        self._client = client
        self._image = image
        self._run = run
        self._runtime = runtime
        self._plan = plan
        self._directory = directory
        self._streams: Streams | None = None
        self._container: Container | None = None
        self.name = f"fumehood-{run}-tracee"

    @property
    def control(self) -> Path:
        """Where commands to the container and their results are, on this side."""
        return self._directory / "control"

    def start(self, gateway: str) -> None:
        """Start it in the network namespace of the container named `gateway`, and wait until its files are there.

        Raises:
            PodError: It does not start.
        """
        self._write_plan()
        limits = self._plan.limits
        # A kernel of its own does the package's system calls in threads of ours.
        factor = 1 if self._runtime == "runc" else _SENTRY_FACTOR
        with explained(f"start the tracee's container with the runtime {self._runtime}"):
            self._container = container = self._client.containers.create(
                self._image,
                name=self.name,
                labels=labels(self._run, "tracee"),
                user="0:0",
                environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                working_dir="/",
                network_mode=f"container:{gateway}",
                runtime=self._runtime,
                read_only=True,
                tmpfs=self._tmpfs(),
                volumes=self._volumes(),
                ipc_mode="private",
                cap_drop=["ALL"],
                cap_add=list(_CAPABILITIES),
                security_opt=["no-new-privileges"],
                mem_limit=limits.memory_mb * _MEGABYTE,
                memswap_limit=limits.memory_mb * _MEGABYTE,
                pids_limit=(limits.processes + OURS) * factor,
                nano_cpus=(os.cpu_count() or 1) * 1_000_000_000,
                ulimits=[docker.types.Ulimit(name="core", soft=0, hard=0)],
                stdin_open=True,
                log_config=docker.types.LogConfig(type="none"),
            )
            connection = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            outputs = {STDOUT: self._directory / "said", STDERR: self._directory / "log"}
            self._streams = Streams(connection, outputs, _LOG_BYTES)
            self._streams.start()
            container.start()
        self._streams.line.wait(_READY_SECONDS)
        if outputs[STDOUT].read_bytes() != b"ready\n":
            lines = outputs[STDERR].read_text(errors="backslashreplace").strip().splitlines()
            raise PodError(f"the tracee did not start: {lines[-1][:300] if lines else 'it said nothing'}")

    def tell(self, line: str) -> None:
        """Give process 1 an order: `run NAME` starts the phase whose command is in `control`, `end NAME` ends it."""
        if self._streams is not None:
            self._streams.send(f"{line}\n".encode())

    @property
    def running(self) -> bool:
        """Whether the container's first process lives."""
        return self._streams is not None and self._streams.is_alive()

    def abandon(self) -> None:
        """End a container that does not answer any more."""
        if self._container is not None:
            remove(self._client, str(self._container.id))
            self._container = None

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of it for want of memory."""
        if self._container is None:
            return False
        with explained("inspect the tracee's container"):
            self._container.reload()
        return bool(self._container.attrs["State"].get("OOMKilled"))

    def stop(self) -> None:
        """End and remove it."""
        if self._streams is not None:
            self._streams.close_input()
            self._streams.close(_STOP_SECONDS)
            self._streams = None
        self.abandon()

    def _tmpfs(self) -> dict[str, str]:
        """Every writable place, bounded each; together they are bounded by the container's memory."""
        disk = self._plan.limits.disk_mb * _MEGABYTE
        files = max(disk // 8192, 65536)
        common = "rw,exec,nosuid,nodev"
        private = f"uid={TRACEE_UID},gid={TRACEE_UID}"
        small = min(disk, _SMALL_MB * _MEGABYTE)
        return {
            "/home": f"{common},size={disk},nr_inodes={files},mode=0755,{private}",
            "/tmp": f"{common},size={disk},nr_inodes={files},mode=1777",  # noqa: S108 - in the container
            "/var/tmp": f"{common},size={disk},nr_inodes={files},mode=1777",  # noqa: S108 - in the container
            "/run": f"{common},size={small},mode=0755,{private}",
            "/dev/shm": f"{common},size={small},mode=1777",  # noqa: S108 - in the container
        }

    def _volumes(self) -> list[str]:
        plan = self._plan
        files = etc.files(plan.user, plan.hostname, plan.rootfs, plan.gateway.certificate_pem, plan.pip_conf)
        volumes = [f"{plan.artefact}:/opt/artefact/{plan.artefact.name}:ro"]
        for name, content in files.items():
            path = self._directory / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)
            volumes.append(f"{path}:/{name}:ro")
        return [*volumes, *(f"{self._directory / name}:{_OURS_INSIDE}/{name}:rw" for name in _SHARED)]

    def _write_plan(self) -> None:
        plan = self._plan
        for name in ("etc", *_SHARED):
            (self._directory / name).mkdir()
        document = {
            "uid": TRACEE_UID,
            "home": plan.home,
            "files": {name: base64.b64encode(content).decode() for name, content in plan.files.items()},
            "private": sorted(plan.private),
            "links": dict(plan.links),
        }
        (self.control / "pod.json").write_bytes(msgspec.json.encode(document))
