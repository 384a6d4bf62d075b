"""The embedded pod's namespaces, with the gateway in them: made, held and ended by way of `sandbox.pod.init`."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from sandbox.errors import PodError
from sandbox.pod import dropped, etc, gateway_files, network, tracee
from sandbox.pod.init import DroppedOrder, InitPlan
from sandbox.pod.interface import TRACEE_UID, PodPlan
from sandbox.pod.surroundings import our_environment
from sandbox.pod.usage import tasks_below

if TYPE_CHECKING:
    from typing import Self

    from sandbox.pod.tools import Tools

_STAGES = ("/media", "/mnt", "/srv", "/opt")
HOST_UIDS = 1_879_000_000
"""First of the host uids a pod's package may get: far above those that distributions hand out."""
HOST_UIDS_COUNT = 1_000_000
_MEGABYTE = 1 << 20
_ADVICE = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone) or run as root"
_PATIENCE = 1.0
"""Seconds for an answer of process 1."""


class Space(msgspec.Struct, frozen=True):
    """How full the pod's file system is, in the order in which process 1 says it."""

    size: int
    """Bytes in all."""
    free: int
    """Bytes."""
    files: int
    """Files and directories that may still be made."""


class Namespaces:
    """User, mount, network, pid, ipc and uts namespaces of one pod, from `start` to `stop`."""

    def __init__(self, plan: PodPlan, directory: Path, tools: Tools) -> None:
        """Prepare; nothing is started yet.

        Args:
            plan: What the pod is made from.
            directory: The run's private directory; `gateway` is made in it.
            tools: The programs of this machine.

        Raises:
            PodError: There is no directory to mount the pod on.
        """
        self._plan = plan
        self._directory = directory
        self._tools = tools
        self._init: subprocess.Popen[bytes] | None = None
        self.first = 0
        """Process 1 of the pod, by its id on the host; 0 before `start`."""
        self.own_tasks = 0
        """Processes and threads of ours that the kernel counts with the package's: none where that has its own uid."""
        self._mute = False
        self.ranges = 2 if os.getuid() == 0 and _may_give_uids() else 1
        """Mapped uid ranges. Root gives the package a host uid of its own; a user has only theirs to give, and so has
        the root of a container that runs as a user."""
        self.stage = self._find_stage()
        """Directory over which the pod's file systems are mounted."""

    def __enter__(self) -> Self:
        """Start."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def alive(self) -> bool:
        """Whether the pod's process 1 runs; it ends when the gateway does."""
        return self._init is not None and self._init.poll() is None

    def disk(self) -> Space | None:
        """How full the pod's file system is; None when its process 1 does not say."""
        init = self._init
        if init is None or init.stdout is None or self._mute:
            return None
        with contextlib.suppress(BrokenPipeError):
            _tell(init, b"disk")
        if not select.select([init.stdout], [], [], _PATIENCE)[0]:
            # Not asked again: a late answer would be taken for the next one's.
            self._mute = True
            return None
        numbers = init.stdout.readline().split()
        return Space(*map(int, numbers)) if len(numbers) == len(Space.__struct_fields__) else None

    def list_dropped(self, site_packages: str, settled: float) -> None:
        """Have what the package left written to `dropped.jsonl` of the run's directory; see `Pod.list_dropped`."""
        init = self._init
        if init is None or init.stdout is None or self._mute:
            return
        order = msgspec.json.encode(DroppedOrder(site_packages=site_packages, settled=settled))
        with contextlib.suppress(BrokenPipeError):
            _tell(init, b"dropped " + order)
        if select.select([init.stdout], [], [], dropped.LATEST + _PATIENCE)[0]:
            init.stdout.readline()

    def stop(self) -> None:
        """End everything; the gateway in order, so that it writes what is pending."""
        init, self._init = self._init, None
        if init is not None:
            _stop_init(init)

    def _find_stage(self) -> str:
        plan = self._plan
        needed = [str(plan.rootfs), str(plan.artefact), str(self._directory), sys.prefix, sys.base_prefix]
        needed += [str(Path(__file__).resolve()), str(plan.gateway.registry_socket)]
        for stage in _STAGES:
            if Path(stage).is_dir() and not any(path.startswith(f"{stage}/") for path in needed):
                return stage
        raise PodError(f"none of {', '.join(_STAGES)} is free to mount the pod on; move fumehood out of them")

    def _start(self) -> None:
        plan = self._init_plan()
        self._init = init = subprocess.Popen(
            [sys.executable, "-P", "-m", "sandbox.pod.init"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=our_environment(),
            cwd="/",
            start_new_session=True,
        )
        _tell(init, msgspec.json.encode(plan))
        _expect(init, "namespaces")
        self._map_users(init.pid)
        _tell(init, b"mapped")
        _expect(init, "ready")
        self.first = psutil.Process(init.pid).children()[0].pid
        self.own_tasks = 0 if self.ranges > 1 else tasks_below(self.first)

    def _map_users(self, pid: int) -> None:
        process = Path(f"/proc/{pid}")
        outside = f"0 {os.getuid()} 1\n", f"0 {os.getgid()} 1\n"
        if self.ranges > 1:
            own = f"{TRACEE_UID} {HOST_UIDS + secrets.randbelow(HOST_UIDS_COUNT)} 1\n"
            outside = outside[0] + own, outside[1] + own
        else:
            (process / "setgroups").write_text("deny")
        try:
            (process / "uid_map").write_text(outside[0])
            (process / "gid_map").write_text(outside[1])
        except OSError as error:
            raise PodError(f"the kernel refuses to map users into the pod: {error.strerror}; {_ADVICE}") from error

    def _init_plan(self) -> InitPlan:
        plan = self._plan
        directory = self._directory / "gateway"
        directory.mkdir()
        config = gateway_files.write(plan, directory, tracee.REGISTRY_SOCKET)
        files = etc.files(plan.user, plan.hostname, plan.rootfs, plan.gateway.certificate_pem, plan.pip_conf)
        home = plan.home.lstrip("/")
        return InitPlan(
            stage=self.stage,
            rootfs=str(plan.rootfs),
            disk_bytes=plan.limits.disk_mb * _MEGABYTE,
            owner=TRACEE_UID if self.ranges > 1 else 0,
            home=plan.home,
            files={**files, **{f"{home}/{name}": content for name, content in plan.files.items()}},
            links={f"{home}/{name}": target for name, target in plan.links.items()},
            private=tuple(f"{home}/{name}" for name in sorted(plan.private)),
            artefact=str(plan.artefact),
            tcp_port=network.TCP_PORT,
            dns_port=network.DNS_PORT,
            ip=self._tools.ip,
            nft=self._tools.nft,
            gateway=tuple(tracee.gateway(self._tools, directory, config, plan.gateway.registry_socket)),
            gateway_environment=our_environment(),
            gateway_log=str(directory / "log"),
            dropped=str(self._directory / dropped.FILE),
        )


def _may_give_uids() -> bool:
    """Whether the user namespace that we are in knows the host uids and gids of packages at all."""
    for name in ("uid_map", "gid_map"):
        lines = Path("/proc/self", name).read_text(encoding="ascii").splitlines()
        ranges = [(int(first), int(count)) for first, _, count in (line.split() for line in lines)]
        last = HOST_UIDS + HOST_UIDS_COUNT
        if not any(first <= HOST_UIDS and last <= first + count for first, count in ranges):
            return False
    return True


def _tell(init: subprocess.Popen[bytes], line: bytes) -> None:
    if init.stdin is not None:
        init.stdin.write(line + b"\n")
        init.stdin.flush()


def _expect(init: subprocess.Popen[bytes], wanted: str) -> None:
    line = init.stdout.readline().decode(errors="backslashreplace").strip() if init.stdout is not None else ""
    if line != wanted:
        said = line.removeprefix("error ") or "its first process ended"
        advice = f"; {_ADVICE}" if wanted == "namespaces" else ""
        if "mount /proc" in said:
            advice = (
                "; start the container around it with an unmasked /proc (Docker: --security-opt systempaths=unconfined)"
            )
        raise PodError(f"the pod did not start: {said}{advice}")


def _stop_init(init: subprocess.Popen[bytes]) -> None:
    """Ask process 1 to end in order, so that the gateway writes what is pending; then make sure."""
    with contextlib.suppress(BrokenPipeError):
        _tell(init, b"stop")
    if init.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            init.stdin.close()
    try:
        init.wait(timeout=10)
    except subprocess.TimeoutExpired:
        for process in psutil.Process(init.pid).children():
            process.kill()
        init.kill()
        init.wait()
    if init.stdout is not None:
        init.stdout.close()
