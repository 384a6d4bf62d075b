"""`fumehood up`: everything on one machine, started, mended and stopped in order; nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import psutil
import pytest

from sandbox.redis_server.layout import redis_conf
from tests.sandbox.intake import building
from tests.servers import RedisKind
from tests.servers.process import alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import RedisServer

COMMAND = Path(sys.executable).with_name("fumehood")
_PATIENCE_S = 60


class Up:
    """A `fumehood up` with a directory of its own, and what is asked of it."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self._log = directory / "log"
        self._file = directory / "fumehood.yaml"
        self._file.write_text(
            f"data: {self.data}\n"
            "queue: {lease_seconds: 4, heartbeat_seconds: 1, reconcile_seconds: 1, retry_seconds: 1}\n"
            "worker: {free_mb: 8}\n"
        )
        self._environment = {**os.environ, "FUMEHOOD_CONFIG": str(self._file)}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        """Start it, and wait until it says that it is up."""
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "up", "--port", "0", "--slots", "1"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                process_group=0,
            )
        self.wait(lambda: "fumehood is up" in self.log(), "the start")
        self.url = re.search(r"fumehood is up: (\S+)", self.log())[1]  # type: ignore[index]

    def fumehood(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, *arguments], env=self._environment, capture_output=True, text=True, check=False)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"in vain for {what}:\n{self.log()}"
            assert self.process is not None
            assert self.process.poll() is None, f"ended before {what}:\n{self.log()}"
            time.sleep(0.05)

    def child(self, word: str) -> psutil.Process:
        """The process of a part, by a word of its command line."""
        assert self.process is not None
        found = [child for child in psutil.Process(self.process.pid).children() if word in _words(child)]
        return found[0] if found else psutil.Process(-1)

    def has(self, word: str, *, other_than: int = 0) -> bool:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return any(word in _words(child) and child.pid != other_than and alive(child) for child in children)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait()
            for process in family:
                if process.is_running():
                    process.kill()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def up() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="fh-up-", dir="/tmp") as directory:
        made = Up(Path(directory))
        yield made
        made.end()


def _wheel(directory: Path, name: str) -> Path:
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n"
    return building.wheel(directory / f"{name}-1.0-py3-none-any.whl", metadata=metadata, info=f"{name}-1.0.dist-info")


@pytest.mark.pod
def test_the_life_of_a_service(up: Up, tmp_path: Path) -> None:
    up.start()
    token = (up.data / "admin-token").read_text().strip()
    client = httpx2.Client(base_url=up.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    with client:
        assert client.get("/submissions").status_code == 200
    assert (up.data / "admin-token").stat().st_mode & 0o777 == 0o600
    assert token not in up.log()

    first = up.fumehood("submit", _wheel(tmp_path, "one"), "--wait", "--format", "json")
    assert first.returncode == 0, first.stderr

    # Whatever is killed is there again, and what waits meanwhile is run.
    assert up.process is not None
    killed = {word: up.child(word) for word in ("serve", "worker")}
    redis = next(child for child in psutil.Process(up.process.pid).children() if "redis" in child.name())
    for process in (redis, *killed.values()):
        process.kill()
    submitted = up.fumehood("submit", _wheel(tmp_path, "two"), "--wait", "--format", "json")
    assert submitted.returncode == 0, submitted.stderr + up.log()
    for word, process in killed.items():
        up.wait(lambda word=word, process=process: up.has(word, other_than=process.pid), f"{word} again")
    said = up.log()
    assert "Redis has ended and is started again" in said
    assert "the HTTP interface ended (signal 9)" in said
    assert "the worker ended (signal 9)" in said

    # It stops in order, and leaves nobody behind.
    family = psutil.Process(up.process.pid).children(recursive=True)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait() == 0
    order = re.findall(r"stopping the HTTP interface|stopping the worker|everything has stopped", up.log())
    assert order == ["stopping the HTTP interface", "stopping the worker", "everything has stopped"]
    assert not [process for process in family if alive(process)]

    # What was done is still known; no second token is made.
    (up.data / "admin-token").unlink()
    up.start()
    listed = json.loads(up.fumehood("queue", "list", "--format", "json").stdout)
    assert sorted(row["state"] for row in listed) == ["done", "done"]
    assert not (up.data / "admin-token").exists()


@pytest.mark.pod
def test_what_runs_when_it_stops_is_finished(up: Up, tmp_path: Path) -> None:
    up.start()
    submitted = up.fumehood("submit", _wheel(tmp_path, "three"), "--format", "json")
    assert submitted.returncode == 0, submitted.stderr
    up.wait(lambda: "attempt begins" in up.log(), "the run")
    assert up.process is not None
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait() == 0
    listed = json.loads(up.fumehood("queue", "list", "--format", "json").stdout)
    assert [(row["state"], row["attempt"]) for row in listed] == [("done", 1)]


@pytest.mark.pod
def test_servers_elsewhere_are_used_instead_of_its_own(
    up: Up, tmp_path: Path, postgresql_url: str, start_redis: Callable[[RedisKind], RedisServer]
) -> None:
    ours = redis_conf(Path("/nowhere"), Path("/nowhere/socket"), "secret")
    [rules] = re.findall(r"(~fumehood:.+)$", ours, re.MULTILINE)
    redis = start_redis(RedisKind(tls=True, users=(f"user fumehood on >secret {rules}",)))
    up._environment |= {"FUMEHOOD_DATABASE": postgresql_url, "FUMEHOOD_REDIS": redis.url}
    up.start()
    submitted = up.fumehood("submit", _wheel(tmp_path, "four"), "--wait")
    assert submitted.returncode == 0, submitted.stderr
    assert not (up.data / "redis").exists()
    assert not (up.data / "fumehood.sqlite").exists()
    assert up.process is not None
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait() == 0
    assert redis.running


def test_two_of_them_do_not_share_a_directory(up: Up) -> None:
    up.start()
    assert up.process is not None
    second = up.fumehood("up", "--port", "0")
    assert second.returncode == 2
    assert re.search(rf"runs with .* already \(process {up.process.pid}\)", second.stderr)


def test_a_port_that_is_taken_is_told_at_once(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = up.fumehood("up", "--port", str(port))
    assert said.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("FUMEHOOD_WORKER_PROFILES", "nothing-like-it", 2),
        ("FUMEHOOD_EVIDENCE", "/proc/nothing-like-it", 2),
        ("FUMEHOOD_REDIS", "unix:///nothing-like-it.sock", 4),
    ],
)
def test_what_cannot_work_is_told_before_anything_starts(up: Up, variable: str, value: str, code: int) -> None:
    up._environment[variable] = value
    said = up.fumehood("up", "--port", "0")
    assert said.returncode == code
    assert "nothing-like-it" in said.stderr
    assert said.stderr.count("\n") == 1


def test_nobody_is_left_when_it_is_killed(up: Up) -> None:
    up.start()
    assert up.process is not None
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert len(family) >= 3
    up.process.kill()
    up.process.wait()
    until = time.monotonic() + _PATIENCE_S
    while left := [process for process in family if alive(process)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)
    up.start()
