"""The tracee's container: what the package runs in."""

from __future__ import annotations

import base64
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

import docker.types
import msgspec

from sandbox.errors import PodError
from sandbox.pod import dropped, etc, seccomp
from sandbox.pod.docker.engine import explained
from sandbox.pod.docker.labels import labels, remove
from sandbox.pod.docker.mounts import bind
from sandbox.pod.docker.streams import STDERR, STDOUT, Streams
from sandbox.pod.interface import TRACEE_UID
from sandbox.pod.namespaces import HOST_UIDS, HOST_UIDS_COUNT
from sandbox.pod.outcome import CPU_GRACE

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from sandbox.pod.interface import PodPlan
    from sandbox.profile import Limits

_MEGABYTE = 1 << 20
_READY_SECONDS = 60
_STOP_SECONDS = 5
_LOG_BYTES = 1 << 16
_DROPPED = "dropped"
"""The order to list what the package left, and the name of the files that go with it."""
_LIST_PATIENCE = 2.0
_TICK = 0.02
OURS = 24
"""Processes and threads of a pod that are not the package's: ours, the tracers'."""
_SENTRY_FACTOR = 24
"""A runtime with a kernel of its own needs host threads for each of the package's; they count too."""
_PROCESSORS = 2
"""At one time; the budgets of profiles are made for a machine with as many."""
_OURS_MB = 256
"""Memory for what is ours in the container, so that the package's limit is the package's."""
_OWN_KERNEL = ("kata", "runsc")
"""What the names of runtimes begin with that do not run the package on the machine's kernel."""
_PLACES: Final = {"/home": 20, "/tmp": 8, "/var/tmp": 2, "/run": 1, "/dev/shm": 1}  # noqa: S108 - in the container
"""The writable places, each a tmpfs, and how many 32nds of the disk's size each has. As a file in them counts as the
container's memory, they get together no more than was added for them there: a full disk is no want of memory."""
_PARTS = 32
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
ENTER = ("/usr/bin/python3", "-I", "-S", "-B", f"{_OURS_INSIDE}/enter.py")
"""What becomes the package's user and executes the command, given the phase's name."""


def has_own_kernel(runtime: str) -> bool:
    """Whether a runtime gives the package a kernel of its own. Of one that we do not know, no."""
    return runtime.startswith(_OWN_KERNEL)


def process_limits(limits: Limits) -> dict[str, int]:
    """The limits of a process, which its children inherit, by name after `RLIMIT_`."""
    return {
        "AS": limits.address_mb * _MEGABYTE,
        # Of all processes of the package's uid, which is this pod's alone: what is left is ours.
        "NPROC": limits.processes,
        "FSIZE": limits.file_mb * _MEGABYTE,
        "NOFILE": limits.open_files,
        "CPU": limits.cpu_seconds + CPU_GRACE,
        "CORE": 0,
        "MEMLOCK": 0,
    }


class TraceeContainer:
    """A container with a read-only root in the gateway's network namespace."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self, client: DockerClient, image: str, attempt: str, runtime: str, plan: PodPlan, directory: Path
    ) -> None:
        """Prepare; nothing is started.

        Args:
            client: The engine.
            image: Id of the tracee's image.
            attempt: Random id of the pod.
            runtime: Name of the runtime.
            plan: What to make.
            directory: Existing private directory; gets `control`, `etc`, `traces` and `output` in it.
        """
        self._client = client
        self._image = image
        self._attempt = attempt
        self._runtime = runtime
        self._plan = plan
        self._directory = directory
        self._streams: Streams | None = None
        self._container: Container | None = None
        self.name = f"fumehood-{attempt}-tracee"
        self.uid = TRACEE_UID if has_own_kernel(runtime) else HOST_UIDS + secrets.randbelow(HOST_UIDS_COUNT)
        """The package's user and group. On the machine's own kernel it is nobody else's there, so that no user of the
        machine may signal or read the package's processes, and their number is not counted with a user's."""

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
        factor = _SENTRY_FACTOR if has_own_kernel(self._runtime) else 1
        memory = (limits.memory_mb + limits.disk_mb + _OURS_MB) * _MEGABYTE
        with explained(f"start the tracee's container with the runtime {self._runtime}"):
            self._container = container = self._client.containers.create(
                self._image,
                name=self.name,
                labels=labels(self._plan.run, self._attempt, "tracee"),
                user="0:0",
                environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                working_dir="/",
                network_mode=f"container:{gateway}",
                runtime=self._runtime,
                read_only=True,
                tmpfs=self._tmpfs(),
                mounts=self._mounts(),
                ipc_mode="private",
                cap_drop=["ALL"],
                cap_add=list(_CAPABILITIES),
                security_opt=["no-new-privileges", f"seccomp={seccomp.docker_profile()}"],
                mem_limit=memory,
                memswap_limit=memory,
                pids_limit=(limits.processes + OURS) * factor,
                nano_cpus=min(os.cpu_count() or 1, _PROCESSORS) * 1_000_000_000,
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

    def list_dropped(self, site_packages: str, settled: float, target: Path) -> None:
        """Have what the package left listed, and move the list to `target`; see `Pod.list_dropped`."""
        order = msgspec.json.encode({"site_packages": site_packages, "settled": settled})
        (self.control / f"{_DROPPED}.json").write_bytes(order)
        self.tell(_DROPPED)
        status = self.control / f"{_DROPPED}.status"
        until = time.monotonic() + dropped.LATEST + _LIST_PATIENCE
        # Written once the list is closed, or its writer has ended otherwise.
        while self.running and not status.exists() and time.monotonic() < until:
            time.sleep(_TICK)
        written = self.control / dropped.FILE
        if written.exists():
            written.rename(target)

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
        try:
            with explained("inspect the tracee's container"):
                self._container.reload()
        except PodError:
            # It is gone already: nobody knows any more.
            return False
        return bool(self._container.attrs["State"].get("OOMKilled"))

    def stop(self) -> None:
        """End and remove it; the latter also when the former fails."""
        try:
            if self._streams is not None:
                self._streams.close_input()
                self._streams.close(_STOP_SECONDS)
                self._streams = None
        finally:
            self.abandon()

    def _tmpfs(self) -> dict[str, str]:
        """Every writable place, bounded."""
        common = "rw,exec,nosuid,nodev"
        modes = dict.fromkeys(("/home", "/run"), f"mode=0755,uid={self.uid},gid={self.uid}")
        found = {}
        for place, part in _PLACES.items():
            size = self._plan.limits.disk_mb * _MEGABYTE * part // _PARTS
            mode = modes.get(place, "mode=1777")
            found[place] = f"{common},size={size},nr_inodes={max(size // 8192, 16384)},{mode}"
        return found

    def _mounts(self) -> list[docker.types.Mount]:
        """The artefact, our files below /etc, and the directories that we share with our side of the container."""
        plan = self._plan
        files = etc.files(plan.user, plan.hostname, plan.rootfs, plan.gateway.certificate_pem, plan.pip_conf, self.uid)
        mounts = [bind(plan.artefact, f"/opt/artefact/{plan.artefact.name}")]
        for name, content in files.items():
            path = self._directory / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)
            mounts.append(bind(path, f"/{name}"))
        ours = (bind(self._directory / name, f"{_OURS_INSIDE}/{name}", writable=True) for name in _SHARED)
        return [*mounts, *ours]

    def _write_plan(self) -> None:
        plan = self._plan
        for name in ("etc", *_SHARED):
            (self._directory / name).mkdir()
        document = {
            "uid": self.uid,
            "home": plan.home,
            "files": {name: base64.b64encode(content).decode() for name, content in plan.files.items()},
            "private": sorted(plan.private),
            "links": dict(plan.links),
        }
        (self.control / "pod.json").write_bytes(msgspec.json.encode(document))
