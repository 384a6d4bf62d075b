"""The machine's side: servers that must hear nothing, a process and files of ours that must stay as they are."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

_SETTINGS = ("kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname", "vm/overcommit_memory")


class Host:
    """What stands around the pod. A context manager: leaving closes and ends what was made."""

    def __init__(self, directory: Path, bundles: Path) -> None:
        """Prepare.

        Args:
            directory: A new directory of the test's own; becomes open to everybody.
            bundles: Where the evidence will be.
        """
        self._directory = directory
        self._canary = directory / "canary"
        self._nest = directory / "nest"
        self._stack = ExitStack()
        self._servers: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="escape listeners")
        self.heard: list[str] = []
        self.token = secrets.token_hex(16)
        self._mark = f"fumehood-escape-mark-{secrets.token_hex(4)}"
        self._abstract = f"fumehood-escape-{secrets.token_hex(4)}"
        self._key = 0x46480000 | secrets.randbits(16)
        self._bundles = bundles
        self.targets: dict[str, Any] = {}
        """What the programs aim at, as JSON; known once entered."""

    def __enter__(self) -> Self:
        """Open servers, start the process, lay out the files."""
        with ExitStack() as undone:
            undone.callback(self._stack.close)
            self._lay_out()
            undone.pop_all()
        return self

    def _lay_out(self) -> None:
        self._nest.mkdir()
        self._canary.write_text(self.token)
        # No permission of a file is to be what holds the package back.
        for path, mode in ((self._directory, 0o777), (self._canary, 0o666), (self._nest, 0o777)):
            path.chmod(mode)
        victim = ["bash", "-c", f": {self._mark}; read -r _"]
        self._victim = self._stack.enter_context(subprocess.Popen(victim, stdin=subprocess.PIPE))
        self._stack.callback(self._victim.kill)
        server = str(self._directory / "host.sock")
        self._serve(socket.AF_UNIX, socket.SOCK_STREAM, server)
        self._serve(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self._abstract}")
        self.targets = {
            "tcp": list(self._on_each_address(socket.SOCK_STREAM)),
            "udp": list(self._on_each_address(socket.SOCK_DGRAM)),
            "path": server,
            "abstract": self._abstract,
            "canary": str(self._canary),
            "nest": str(self._nest),
            "bundles": str(self._bundles),
            "victim": self._victim.pid,
            "mark": self._mark,
            "key": self._key,
        }
        self._before = self._state()
        self._thread.start()
        self._stack.callback(self._silence)

    def _silence(self) -> None:
        self._stop.set()
        self._thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what was made."""
        self._stack.close()

    def _on_each_address(self, kind: int) -> Iterator[tuple[int, tuple[str, int]]]:
        """Serve on every address of this machine's interfaces; gives family and address each."""
        found = {"127.0.0.1"}
        for addresses in psutil.net_if_addrs().values():
            for address in addresses:
                if address.family in (socket.AF_INET, socket.AF_INET6) and "%" not in address.address:
                    found.add(address.address)
        for host in sorted(found):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            yield int(family), (host, self._serve(family, kind, (host, 0)).getsockname()[1])

    def _serve(self, family: int, kind: int, address: tuple[str, int] | str) -> socket.socket:
        server = self._stack.enter_context(socket.socket(family, kind))
        server.bind(address)
        server.settimeout(0.05)
        if kind == socket.SOCK_STREAM:
            server.listen()
        self._servers.append(server)
        return server

    def _hear(self) -> None:
        while not self._stop.is_set():
            for server in self._servers:
                try:
                    if server.type == socket.SOCK_STREAM:
                        server.accept()[0].close()
                    else:
                        server.recv(100)
                except TimeoutError:
                    continue
                self.heard.append(f"{server.family.name} {server.type.name} {server.getsockname()!r}")

    def _state(self) -> dict[str, object]:
        """Everything that must be the same afterwards."""
        victim = psutil.Process(self._victim.pid)
        status = Path(f"/proc/{victim.pid}/status").read_text(encoding="ascii").splitlines()
        return {
            "the process of ours": (
                victim.is_running() and victim.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED),
                victim.nice(),
                victim.ionice(),
                victim.rlimit(psutil.RLIMIT_NOFILE),
                victim.rlimit(psutil.RLIMIT_FSIZE),
                tuple(victim.cpu_affinity()),
                next(line for line in status if line.startswith("TracerPid:")),
            ),
            "the canary": self._canary.read_text(),
            "the directory around it": sorted(path.name for path in self._directory.rglob("*")),
            "settings of the kernel": [
                path.read_text() for name in _SETTINGS if (path := Path("/proc/sys", name)).exists()
            ],
            "interfaces": sorted(psutil.net_if_addrs()),
            "shared memory": [
                Path("/dev/shm/fumehood-escape").exists(),
                any(line.split()[0] == str(self._key) for line in Path("/proc/sysvipc/shm").read_text().splitlines()),
            ],
        }

    def changes(self) -> list[str]:
        """What is not as it was before the pod began, in words."""
        now = self._state()
        changed = [
            f"{name}: {self._before[name]!r} became {now[name]!r}" for name in now if now[name] != self._before[name]
        ]
        return [*changed, *(f"a server of the machine heard something: {server}" for server in self.heard)]
