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
_PATIENCE_S = 60
_SMALL = f"""
set -eu
mkdir -p "$1"
mount -t tmpfs -o size={_DISK_MB}m none "$1"
shift
exec "$@"
"""
"""Gives a host a small disk for its runs, in a mount namespace of its own, which goes with it."""


class Host:
    """A worker, as on a machine of its own."""

    def __init__(self, site: Site, number: int) -> None:
        self._site = site
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start its supervisor."""
        runs = runs_directory(self._site.configuration)
        small = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SMALL, "host", str(runs)]
        command = [COMMAND, "worker", "--slots", str(self._site.slots)]
        with (self._site.directory / f"host-{self.number}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*(small if os.geteuid() == 0 else []), *command],
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
        """Fill its disk; the file that does, to be removed."""
        if os.geteuid() != 0 or not self.alive:
            return None
        assert self.process
        ballast = Path(f"/proc/{self.process.pid}/root{runs_directory(self._site.configuration)}/ballast")
        try:
            with ballast.open("wb") as stream:
                for _ in range(_DISK_MB):
                    stream.write(bytes(1 << 20))
        except OSError:
            pass
        return ballast


class Site:
    """Everything that a trial needs."""

    def __init__(self, directory: Path, hosts: int, slots: int) -> None:
        self.directory = directory
        self.slots = slots
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
        self.hosts = [Host(self, number) for number in range(hosts)]
        self._api: subprocess.Popen[str] | None = None
        self.url = ""

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
        """Start `fumehood serve` on any port, and wait until it answers."""
        self._api = subprocess.Popen(
            [COMMAND, "serve", "--port", "0"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        assert self._api.stderr
        found = re.search(r"http://\S+?(?=/api)", self._api.stderr.readline())
        assert found, "fumehood serve did not start"
        self.url = found[0]

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
        ours = {os.getpid(), self._api.pid if self._api else 0}
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
            self._api.kill()
            self._api.wait()
            if self._api.stderr:
                self._api.stderr.close()
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
        self.engine.dispose()
        self.redis.remove()
        self.postgresql.remove()
        shutil.rmtree(self.directory / "data", ignore_errors=True)
