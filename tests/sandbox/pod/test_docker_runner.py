"""The Docker pod's own programs in the tracee: what they believe, what they admit, and the limits they watch."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from sandbox.pod.docker.pod import DockerPod
from tests.sandbox.pod import engines
from tests.sandbox.pod.bench import Bench, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from docker import DockerClient

    from sandbox.images import BaseImage
    from sandbox.tracer import TracerMode

    Start = Callable[..., AbstractContextManager[Bench]]

pytestmark = [pytest.mark.docker, pytest.mark.pod]


@pytest.fixture(params=engines.RUNTIMES)
def start(request: pytest.FixtureRequest, base_image: BaseImage, tmp_path: Path) -> Start:
    """Start a pod with each runtime in turn."""
    return _starter(str(request.param), base_image, tmp_path)


@pytest.fixture
def start_runc(base_image: BaseImage, tmp_path: Path) -> Start:
    return _starter("runc", base_image, tmp_path)


def _starter(runtime: str, base_image: BaseImage, directory: Path) -> Start:
    engines.need(f"docker-{runtime}")
    mode: TracerMode = "seccomp-bpf" if runtime == "runc" else "every-call"

    def begin(**limits: int) -> _Started:
        (directory / "evidence").mkdir()
        plan = make_plan(base_image, directory, **limits)
        return _Started(
            DockerPod(msgspec.structs.replace(plan, tracer_mode=mode), directory / "evidence", runtime),
            directory / "evidence",
        )

    return begin


class _Started:
    def __init__(self, pod: DockerPod, directory: Path) -> None:
        self.pod = pod
        self.directory = directory

    def __enter__(self) -> Bench:
        return Bench(self.pod.__enter__(), self.directory)

    def __exit__(self, *error: object) -> None:
        self.pod.__exit__(*error)


def _container(bench: Bench) -> str:
    tracee = bench.pod._tracee
    assert tracee is not None
    assert tracee._container is not None
    return str(tracee._container.id)


def _inside(client: DockerClient, bench: Bench, code: str) -> str:
    """Run Python as root in the tracee's container."""
    made = client.api.exec_create(_container(bench), ["/usr/bin/python3", "-I", "-c", code], user="0")
    return client.api.exec_start(made["Id"]).decode()


_TRACED = """
import os
for pid in filter(str.isdigit, os.listdir('/proc')):
    status = dict(line.split(':\t', 1) for line in open(f'/proc/{pid}/status'))
    # Before its command has forked, the tracer may still pass through processes that end at once.
    if int(status['TracerPid']) and open(f'/proc/{pid}/task/{pid}/children').read():
        print(status['TracerPid'].strip())
"""


def test_a_killed_tracer_leaves_no_whole_trace_and_nothing_untraced(client: DockerClient, start_runc: Start) -> None:
    with start_runc() as bench:
        killed: list[str] = []

        def kill() -> None:
            until = time.monotonic() + 120
            while not killed and time.monotonic() < until:
                killed.extend(_inside(client, bench, _TRACED).split()[:1])
            _inside(client, bench, f"import os; os.kill({killed[0]}, 9)")

        killer = threading.Thread(target=kill)
        killer.start()
        code = "import os, time\nos.fork()\nos.setsid() if os.getpid() % 2 else 0\nwhile True: time.sleep(0.01)"
        phase = bench.python(code, seconds=240)
        killer.join()
        assert phase.trace_complete is False
        assert phase.status == "failed", phase.reason
        assert (
            _inside(
                client,
                bench,
                "import os; print(sum(os.stat(f'/proc/{pid}').st_uid > 0 for pid in os.listdir("
                "'/proc') if pid.isdigit()))",
            ).strip()
            == "0"
        ), "nobody acts on unseen"
        after = bench.run("/bin/true")
        assert (after.status, after.trace_complete) == ("completed", True)


@pytest.mark.parametrize("room", [0, 1, 2], ids=["runner", "command", "tracer"])
def test_a_process_of_ours_that_cannot_be_started_is_our_fault(
    client: DockerClient, start_runc: Start, room: int
) -> None:
    with start_runc() as bench:
        assert bench.run("/bin/true").status == "completed"
        _limit_processes(client, bench, 1 + room)
        phase = bench.run("/bin/true")
        assert phase.status == "failed"
        assert phase.reason.startswith("fumehood itself failed, not the package: ")
        assert phase.trace_complete is False
        _limit_processes(client, bench, 100)
        assert bench.run("/bin/true").status == "completed", "the pod itself lives on"


def _limit_processes(client: DockerClient, bench: Bench, most: int) -> None:
    url = client.api._url("/containers/{0}/update", _container(bench))
    client.api._raise_for_status(client.api._post_json(url, data={"PidsLimit": most}))


def test_a_process_that_the_kernel_ends_for_memory_is_told(client: DockerClient, start_runc: Start) -> None:
    with start_runc() as bench:
        # Far below the package's own limit: only the kernel can notice.
        client.api.update_container(_container(bench), mem_limit=96 << 20, memswap_limit=96 << 20)
        phase = bench.python("x = b'x' * (1 << 30)")
        assert phase.status == "oom"
        assert [(hit.name, hit.ended) for hit in phase.limits] == [("memory", True)]
        assert phase.trace_complete is True, "the tracer was not what the kernel took"
        assert bench.run("/bin/true").status == "completed"


def test_memory_of_all_processes_together_ends_the_phase(start_runc: Start) -> None:
    with start_runc(memory_mb=256) as bench:
        each = "import os, time\nfor _ in range(3): os.fork()\nx = os.urandom(1 << 20) * 60\ntime.sleep(1000)"
        phase = bench.python(each)
        assert phase.status == "oom", phase.reason
        (hit,) = (hit for hit in phase.limits if hit.ended)
        assert hit.name == "memory"
        assert hit.seen > hit.limit == 256 << 20
        assert bench.run("/bin/true").status == "completed"


def test_memory_of_one_process_ends_the_phase(start: Start) -> None:
    with start(memory_mb=256) as bench:
        phase = bench.python("import time\nx = b'x' * (600 << 20)\ntime.sleep(1000)")
        assert phase.status == "oom", phase.reason
        assert [(hit.name, hit.limit, hit.ended) for hit in phase.limits] == [("memory", 256 << 20, True)]
        assert phase.trace_complete is True
        assert bench.run("/bin/true").status == "completed"


def test_forks_that_share_their_memory_are_counted_once(start: Start) -> None:
    with start(memory_mb=256) as bench:
        phase = bench.python(
            "import os, time\nx = b'x' * (100 << 20)\nfor _ in range(3): os.fork()\ntime.sleep(1.5)\nos._exit(0)"
        )
        assert (phase.status, phase.limits) == ("completed", ())


def test_a_full_disk_is_an_error_of_the_package_and_told(start: Start) -> None:
    code = (
        "import errno\n"
        "try:\n"
        "  with open('/tmp/x', 'wb', 0) as file:\n"
        "    while True: file.write(b'x' * (1 << 20))\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )
    with start(disk_mb=64) as bench:
        phase = bench.python(code)
        assert (phase.status, bench.output(phase)) == ("completed", "ENOSPC\n")
        assert [(hit.name, hit.limit, hit.seen, hit.what) for hit in phase.limits] == [
            ("disk", 16 << 20, 16 << 20, "/tmp")
        ]
        assert bench.run("/bin/rm", "/tmp/x").status == "completed"
        assert bench.run("/bin/true").limits == ()


def test_processor_time_of_ended_processes_counts(start: Start) -> None:
    code = (
        "import os, time\n"
        "while True:\n"
        "  if os.fork() == 0:\n"
        "    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n"
        "    os._exit(0)\n"
        "  os.wait()"
    )
    with start(cpu_seconds=2) as bench:
        phase = bench.python(code, seconds=240)
        assert phase.status == "killed", phase.reason
        assert [(hit.name, hit.limit, hit.ended) for hit in phase.limits] == [("cpu", 2, True)]
        assert bench.run("/bin/true").status == "completed"


_STOP_RUNNER = """
import os, signal, time
old = set(os.listdir('/proc'))
end = time.monotonic() + 20
while time.monotonic() < end:
    for pid in set(os.listdir('/proc')) - old:
        if pid.isdigit():
            try:
                status = dict(line.split(':\t', 1) for line in open(f'/proc/{pid}/status'))
            except (OSError, ValueError):
                continue
            if status['PPid'].strip() == '1' and status['Uid'].split()[0] == '0':
                while not open(f'/proc/{pid}/task/{pid}/children').read():
                    pass  # until it has started the command
                os.kill(int(pid), signal.SIGSTOP)
                time.sleep(2)
                os.kill(int(pid), signal.SIGCONT)
                print('stopped')
                raise SystemExit
"""


def test_a_command_that_ends_before_the_tracer_is_looked_for_is_seen_whole(
    client: DockerClient, start_runc: Start
) -> None:
    with start_runc() as bench:
        told: list[str] = []
        stopper = threading.Thread(target=lambda: told.append(_inside(client, bench, _STOP_RUNNER)))
        stopper.start()
        time.sleep(1.5)  # until it looks
        phase = bench.run("/bin/true")
        stopper.join()
        assert told == ["stopped\n"]
        assert (phase.status, phase.exit_code, phase.trace_complete) == ("completed", 0, True), phase.reason


def test_processes_that_the_kernel_refuses_are_told(start_runc: Start) -> None:
    bomb = (
        "import os, time\n"
        "while True:\n"
        "  try:\n"
        "    if os.fork() == 0: time.sleep(1000)\n"
        "  except OSError: time.sleep(0.1)"
    )
    with start_runc(processes=40) as bench:
        phase = bench.python(bomb, seconds=8)
        assert phase.status == "timed-out"
        assert [(hit.name, hit.limit, hit.seen, hit.ended) for hit in phase.limits] == [("processes", 40, 40, False)]
        assert phase.trace_complete is True
        assert bench.run("/bin/true").status == "completed"


def test_output_that_is_cut_says_how_much_came(start: Start) -> None:
    with start(output_kb=64) as bench:
        phase = bench.python("import os\nfor _ in range(3): os.write(1, b'x' * 65536)\nos.write(2, b'y' * 10)")
        assert phase.output_truncated is True
        assert [(hit.name, hit.what, hit.limit, hit.seen, hit.lost) for hit in phase.limits] == [
            ("output", "stdout", 64 << 10, 192 << 10, 128 << 10)
        ]
        assert len(bench.output(phase)) == 64 << 10
        assert bench.output(phase, "stderr") == "y" * 10


def test_samples_say_what_a_phase_used(start: Start) -> None:
    code = (
        "import os, time\n"
        "x = b'x' * (50 << 20)\n"
        "if os.fork() == 0:\n"
        "  end = time.process_time() + 0.5\n"
        "  while time.process_time() < end: pass\n"
        "  os._exit(0)\n"
        "os.wait()\n"
        "with open('/tmp/y', 'wb', 0) as file: file.write(x)\n"
        "time.sleep(1.5)"
    )
    with start() as bench:
        phase = bench.python(code)
        assert phase.status == "completed", bench.output(phase, "stderr")
        bench.pod.stop()
        samples = [sample for sample in bench.pod.samples() if sample.phase == phase.name]
    assert max(sample.processes for sample in samples) == 2
    assert samples[-1].processes == 0
    assert max(sample.rss_bytes for sample in samples) > 50 << 20
    assert samples[-1].cpu_seconds >= 0.5, "the ended child's too"
    assert samples[-1].written_bytes >= 50 << 20
    for before, after in itertools.pairwise(samples):
        assert after.ts > before.ts
        assert after.cpu_seconds >= before.cpu_seconds
        assert after.written_bytes >= before.written_bytes


def test_of_a_long_phase_not_every_sample_is_kept(start_runc: Start) -> None:
    with start_runc() as bench:
        assert isinstance(bench.pod, DockerPod)
        bench.run("/bin/true")
        (phase,) = bench.pod._phases
        while phase.alive:
            time.sleep(0.02)
        before = len(phase.samples)
        line = '{"sample":{"ts":%s,"processes":1,"cpu_seconds":0,"rss_bytes":1}}\n'
        with phase._status.open("a") as status:
            status.writelines(line % (time.time() + 3600 + tenth / 10) for tenth in range(1000))
        assert not phase.alive
        assert phase.error == ""
    assert before + 2 <= len(phase.samples) < before + 50
