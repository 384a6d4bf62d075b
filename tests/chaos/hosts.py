"""The servers of a trial, the hosts that work, and what they leave."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from sandbox import tokens
from sandbox.config import load_configuration
from sandbox.database import open_database, upgrade
from sandbox.database.schema import SUBMISSIONS
from sandbox.queue.work import runs_directory
from sandbox.resources import profiles_directory
from tests.servers import PostgreSQL, RedisKind, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).with_name("fumehood")
_DISK_MB = 96
_EVIDENCE_MB = 256
_BUNDLE_MB = 0.5
"""More than a run of a tiny package leaves."""
_PATIENCE_S = 60
_SMALL = """
set -eu
mkdir -p "$1"
mount -t tmpfs -o "size=$2m" none "$1"
shift 2
exec "$@"
"""
"""Makes a small disk in the mount namespace it runs in, and goes on there."""


def _with_disk(directory: Path, mb: int) -> list[str]:
    """Words before a command that give it a small disk, in a mount namespace of its own, which goes with it."""
    if os.geteuid() != 0:
        return []
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SMALL, "disk", str(directory), str(mb)]


def _fill(ballast: Path) -> Path:
    """Write until the disk is full; the file that does it, to be removed."""
    try:
        with ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(1 << 20))
    except OSError:
        return ballast


class Host:
    """A worker, as on a machine of its own."""

    def __init__(self, site: Site, number: int) -> None:
        self._site = site
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start its supervisor."""
        small = _with_disk(runs_directory(self._site.configuration), _DISK_MB)
        command = [*self._site.inside, *small, COMMAND, "worker", "--slots", str(self._site.slots)]
        with (self._site.directory / f"host-{self.number}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self._site.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def slots(self) -> list[psutil.Process]:
        """Processes of its slots."""
        assert self.process
        try:
            return [it for it in psutil.Process(self.process.pid).children() if "sandbox.queue" in it.cmdline()]
        except psutil.Error:
            return []

    def runs(self) -> list[psutil.Process]:
        """Processes of its runs."""
        found = []
        for slot in self.slots():
            try:
                found += slot.children()
            except psutil.Error:
                continue
        return found

    def fill(self) -> Path | None:
        """Fill the disk of its runs; the file that does, to be removed."""
        if os.geteuid() != 0 or not self.alive:
            return None
        assert self.process
        return _fill(Path(f"/proc/{self.process.pid}/root{runs_directory(self._site.configuration)}/ballast"))


class Site:
    """Everything that a trial needs."""

    def __init__(self, directory: Path, hosts: int, slots: int, submissions: int) -> None:
        self.directory = directory
        self.slots = slots
        self._disk: subprocess.Popen[bytes] | None = None
        self.inside: list[str] = []
        """Words before the command of everything that sees the disk for evidence."""
        self.redis = RedisServer(RedisKind())
        self.postgresql = PostgreSQL()
        self.postgresql.start()
        self.redis.start()
        self._write_configuration(self.postgresql.create_database())
        self.environment = {**os.environ, "FUMEHOOD_CONFIG": str(directory / "fumehood.yaml")}
        self.configuration = load_configuration(self.environment)
        self.engine = open_database(self.configuration.database)
        upgrade(self.engine)
        _, self.secret = tokens.create(self.engine, "chaos", "admin", time.time(), None)
        self._insert_disk(_EVIDENCE_MB + int(submissions * _BUNDLE_MB))
        self.hosts = [Host(self, number) for number in range(hosts)]
        self._api: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.url = ""

    def _insert_disk(self, mb: int) -> None:
        """Give interface and hosts one disk for all evidence, in a mount namespace that they share."""
        words = _with_disk(Path(self.configuration.evidence), mb)
        if not words:
            return
        # It waits for the end of its input, which comes with this process.
        self._disk = subprocess.Popen(
            [*words, "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        assert self._disk.stdout
        assert self._disk.stdout.readline() == b"ready\n", "no disk for evidence"
        self.inside = ["nsenter", f"--mount=/proc/{self._disk.pid}/ns/mnt"]

    @property
    def evidence(self) -> str:
        """Where this process finds the evidence."""
        return (
            f"/proc/{self._disk.pid}/root{self.configuration.evidence}" if self._disk else self.configuration.evidence
        )

    def fill(self) -> Path | None:
        """Fill the disk for evidence; the file that does, to be removed."""
        return _fill(Path(self.evidence) / "ballast") if self._disk else None

    def _write_configuration(self, database: str) -> None:
        text = (profiles_directory() / "pypi.yaml").read_text()
        profile = self.directory / "short.yaml"
        profile.write_text(
            text.replace("name: pypi\n", "name: short\n").replace("linger: {seconds: 5}", "linger: {seconds: 1}")
        )
        (self.directory / "fumehood.yaml").write_text(
            f"data: {self.directory / 'data'}\n"
            f"database: {database}\n"
            f"redis: {self.redis.url}\n"
            "queue: {lease_seconds: 6, heartbeat_seconds: 1, reconcile_seconds: 2, retry_seconds: 1, attempts: 100}\n"
            f"worker: {{free_mb: 24, profiles: [{profile}]}}\n"
            "api: {requests_per_minute: 100000}\n"
        )

    def start(self) -> None:
        """Start the interface and the hosts."""
        for host in self.hosts:
            host.start()
        self.start_api()

    def start_api(self) -> None:
        """Start `fumehood serve`, the first time on any port, and wait until it answers."""
        path = self.directory / "api.log"
        with path.open("wb") as log:
            self._api = subprocess.Popen(
                [*self.inside, COMMAND, "serve", "--port", str(self._port)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                process_group=0,
            )
        until = time.monotonic() + _PATIENCE_S
        while not (found := re.search(r"(http://\S+:(\d+))/api", path.read_text())):
            assert self._api.poll() is None, f"fumehood serve ended: {path.read_text()}"
            assert time.monotonic() < until, f"fumehood serve did not start: {path.read_text()}"
            time.sleep(0.05)
        self.url, self._port = found[1], int(found[2])

    def kill_api(self) -> None:
        """End `fumehood serve` at once, whatever it does."""
        assert self._api
        self._api.kill()
        self._api.wait()

    def states(self) -> dict[str, int]:
        """How many submissions there are, by state; none while the database is away."""
        try:
            with self.engine.connect() as connection:
                rows = connection.execute(select(SUBMISSIONS.c.state, func.count()).group_by(SUBMISSIONS.c.state)).all()
        except DBAPIError:
            return {}
        return {row[0]: row[1] for row in rows}

    def stop_workers(self) -> None:
        """End the hosts as an administrator would."""
        for host in self.hosts:
            if host.alive and host.process:
                host.process.terminate()
        for host in self.hosts:
            if host.process:
                host.process.wait(_PATIENCE_S)

    def left(self) -> Iterator[str]:
        """Processes that still do something for this trial, once its hosts have ended."""
        until = time.monotonic() + _PATIENCE_S
        while found := list(self._processes()):
            if time.monotonic() > until:
                yield from found
                return
            time.sleep(0.2)
        yield from map(str, runs_directory(self.configuration).glob("*.partial"))

    def _processes(self) -> Iterator[str]:
        ours = {os.getpid(), *(process.pid for process in (self._api, self._disk) if process)}
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if process.pid not in ours and str(self.directory) in words:
                yield f"{process.pid} {words[:200]}"

    def log(self) -> str:
        """What the hosts said last."""
        return "\n".join(path.read_text()[-4000:] for path in sorted(self.directory.glob("host-*.log")))

    def close(self) -> None:
        """End everything."""
        if self._api is not None:
            self.kill_api()
        for host in self.hosts:
            if host.alive and host.process:
                family = psutil.Process(host.process.pid).children(recursive=True)
                host.process.kill()
                host.process.wait()
                for process in family:
                    try:
                        process.kill()
                    except psutil.NoSuchProcess:
                        continue
        if self._disk is not None:
            self._disk.communicate(timeout=_PATIENCE_S)
        self.engine.dispose()
        self.redis.remove()
        self.postgresql.remove()
        shutil.rmtree(self.directory / "data", ignore_errors=True)
