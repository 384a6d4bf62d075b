"""A service of the test's own: configuration, packages to submit, workers that may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from sandbox.config import load_configuration
from sandbox.database import open_database, upgrade
from sandbox.evidence import open_evidence
from sandbox.intake import keep_upload
from sandbox.queue import connect
from sandbox.queue.work import load_profiles
from sandbox.submissions import query
from sandbox.submissions.model import FINAL, Request
from sandbox.submissions.submit import submit
from tests.sandbox.intake import building

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.submissions.model import Lane, Submission

COMMAND = Path(sys.executable).with_name("fumehood")
_PATIENCE_S = 60
"""After which a test fails: everything here ends much sooner, on any machine."""


class Service:
    """What a test submits to, and the workers that run it."""

    def __init__(self, directory: Path, database: str, redis: str, **queue: int) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / "fumehood.yaml"
        plan = {"lease_seconds": 4, "heartbeat_seconds": 1, "reconcile_seconds": 1, "retry_seconds": 1, **queue}
        lines = [
            f"data: {directory / 'data'}",
            f"database: {database}",
            f"redis: {redis}",
            "queue:",
            *(f"  {key}: {value}" for key, value in plan.items()),
            "worker:",
            "  free_mb: 8",
        ]
        self.file.write_text("\n".join(lines) + "\n")
        self.configuration = load_configuration({**os.environ, "FUMEHOOD_CONFIG": str(self.file)})
        self.engine = open_database(self.configuration.database)
        upgrade(self.engine)
        self.redis = connect(self.configuration)
        [self._profile] = load_profiles(self.configuration).values()
        self._workers: list[subprocess.Popen[bytes]] = []
        self._number = 0

    def wheel(self, *, waits: bool = False) -> Path:
        """A package that depends on nothing and does nothing, or waits when it is imported; another one each time."""
        self._number += 1
        name = f"thing{self._number}"
        path = self.directory / f"{name}-1.0-py3-none-any.whl"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n"
        module = (building.zip_entry(f"{name}.py"), b"import threading\nthreading.Event().wait(600)\n")
        return building.wheel(path, *([module] if waits else []), metadata=metadata, info=f"{name}-1.0.dist-info")

    def submit(
        self, lane: Lane = "manual", *, waits: bool = False, profile: str = "pypi", pod: str = "bubblewrap"
    ) -> str:
        """Commit a new package without queueing it; its id."""
        name, sha256 = keep_upload(str(self.wheel(waits=waits)), "auto", self.configuration.uploads)
        evidence = open_evidence(self.configuration.evidence)
        evidence.keep_upload(self.configuration.uploads / sha256 / name, sha256)
        request = Request(
            package=name,
            upload=sha256,
            profile=profile,
            profile_sha256=self._profile.sha256,
            rules_sha256="0" * 64,
            lane=lane,
            pod=pod,
            budget=self.configuration.queue.attempts,
        )
        return submit(self.engine, request, time.time()).submission.id

    def row(self, identifier: str) -> Submission:
        row = query.get(self.engine, identifier)
        assert row
        return row

    def start_worker(self, slots: int = 1, *, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """A supervisor in a process group of its own, as on a host of its own."""
        ours = {**os.environ, **(environment or {}), "FUMEHOOD_CONFIG": str(self.file)}
        command = [COMMAND, "worker", "--slots", str(slots)]
        log = (self.directory / "worker.log").open("ab")
        worker = subprocess.Popen(command, env=ours, stderr=log, process_group=0)
        log.close()
        self._workers.append(worker)
        return worker

    def fumehood(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this service."""
        ours = {**os.environ, "FUMEHOOD_CONFIG": str(self.file)}
        return subprocess.run([COMMAND, *arguments], env=ours, capture_output=True, text=True, check=False)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        until = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"in vain for {what}; the worker said:\n{self.log()}"
            time.sleep(0.05)

    def ended(self, identifier: str) -> Submission:
        """The submission, once it has ended."""
        self.wait(lambda: self.row(identifier).state in FINAL, f"the end of {identifier}")
        return self.row(identifier)

    def running(self, identifier: str, phase: str = "") -> Submission:
        """The submission, once it runs, and is in a phase."""
        self.wait(
            lambda: (row := self.row(identifier)).state == "running" and phase in ("", row.progress.get("step")),
            f"{identifier} running {phase}",
        )
        return self.row(identifier)

    def log(self) -> str:
        path = self.directory / "worker.log"
        return path.read_text()[-8000:] if path.exists() else ""

    def close(self) -> None:
        """Kill what still runs."""
        for worker in self._workers:
            kill_all(worker)
        self.redis.close()
        self.engine.dispose()


def kill_all(worker: subprocess.Popen[bytes]) -> None:
    """The end of a host: SIGKILL for every process of a worker, without a chance for any to react."""
    if worker.poll() is not None:
        return
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for process in family:
        try:
            process.send_signal(signal.SIGSTOP)
        except psutil.NoSuchProcess:
            continue
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    worker.wait()


def run_of(worker: subprocess.Popen[bytes]) -> tuple[psutil.Process, psutil.Process]:
    """The process of a worker's only slot, and that of the run in it."""
    [slot] = psutil.Process(worker.pid).children()
    [run] = slot.children()
    return slot, run
