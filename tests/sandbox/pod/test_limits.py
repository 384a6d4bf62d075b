"""Phases that will not end by themselves end in their budget, are labelled so, and the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from sandbox.bundle import BundleWriter

if TYPE_CHECKING:
    from collector.manifest import Phase
    from sandbox.settings import Settings
    from tests.sandbox.pod.bench import Bench, StartPod

pytestmark = pytest.mark.pod


def _names(phase: Phase) -> tuple[str, ...]:
    return tuple(hit.name for hit in phase.limits)


def _next_phase_runs(bench: Bench) -> None:
    after = bench.run("/bin/echo", "the run goes on")
    assert (after.status, after.trace_complete) == ("completed", True)
    assert bench.output(after) == "the run goes on\n"
    assert '"the run goes on' in bench.trace(after)


def _pod_processes(bench: Bench) -> list[psutil.Process]:
    return psutil.Process(bench.pod._namespaces._init.pid).children(recursive=True)


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(1000)",
        "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 3, 15)]; time.sleep(1000)",
        "import os, time; [os.fork() for _ in range(6)]; os.setsid() if os.getpid() % 2 else 0; time.sleep(1000)",
        "import os\nwhile True:\n  try:\n    os.fork()\n  except OSError:\n    pass",
        "import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)",
        "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\ntime.sleep(1000)",
    ],
    ids=["sleeps", "ignores-signals", "forks", "fork-bomb", "floods", "double-fork"],
)
def test_a_phase_without_end_is_ended_and_the_next_one_runs(start_pod: StartPod, pod_name: str, code: str) -> None:
    if pod_name == "docker-runsc" and "fork() for" in code:
        pytest.skip("gVisor of 2022 hangs when many traced processes are killed at once (docs/docker.md)")
    # Time enough to come to what it does, however busy the machine is.
    seconds = 8 if pod_name == "docker-runsc" else 4
    with start_pod(processes=128, output_kb=64) as bench:
        phase = bench.python(code, seconds=seconds)
        if pod_name == "docker-runsc" and "os.fork()\n  except" in code:
            # Its limit of processes holds, or the runner's does, or the sandbox hangs and is ended.
            assert phase.status in {"killed", "timed-out"}
            assert _names(phase) in {("processes",), ()}
            return
        assert phase.status == "timed-out"
        assert phase.reason == f"not finished after {seconds} s"
        assert phase.output_truncated is ("os.write" in code)
        for stream in ("stdout", "stderr"):
            assert len(bench.output(phase, stream)) <= 64 * 1024
        after = bench.run("/bin/echo", "the run goes on")
        assert after.status == "completed"
        assert bench.output(after) == "the run goes on\n"
        assert "+++ killed by SIGKILL +++" in bench.trace(phase), "the tracer saw the end"


def test_a_trace_over_its_limit_ends_the_phase_and_is_incomplete(start_pod: StartPod) -> None:
    with start_pod(trace_mb=1) as bench:
        phase = bench.python("while True:\n  try: open('/nowhere')\n  except OSError: pass", seconds=240)
        assert phase.status == "killed"
        (hit,) = phase.limits
        assert (hit.name, hit.limit, hit.unit, hit.ended) == ("trace", 1 << 20, "bytes", True)
        assert hit.limit < hit.seen <= len(bench.trace(phase)) + 8, "as much as there was when it was ended"
        assert phase.reason.startswith("ended at a limit: trace 1")
        assert phase.trace_complete is False
        _next_phase_runs(bench)


def test_a_survivors_trace_is_held_to_the_limit_while_it_lingers(start_pod: StartPod) -> None:
    with start_pod(trace_mb=1) as bench:
        noisy = "while True:\n    try: open('/nowhere')\n    except OSError: pass"
        phase = bench.python(f"import os, time\nif os.fork() == 0:\n  time.sleep(1)\n  {noisy}")
        assert phase.status == "completed"
        bench.pod.linger(20)
        assert bench.pod.stop() == (phase.name,)
        assert len(bench.trace(phase)) < 8 << 20


def test_a_pod_whose_gateway_dies_ends_and_says_so(start_bubblewrap: StartPod) -> None:
    with start_bubblewrap() as bench:
        before = bench.run("/bin/true")
        assert before.status == "completed"
        (gateway,) = (p for p in _pod_processes(bench) if "sandbox.gateway" in p.cmdline() and not p.children())
        gateway.kill()
        phase = bench.python("import time; time.sleep(1000)", seconds=240)
        assert phase.status in {"killed", "failed"}
        assert phase.limits == (), "it was no limit"
        assert phase.trace_complete is False


def test_exit_codes_and_programs_that_cannot_start(start_pod: StartPod) -> None:
    with start_pod() as bench:
        assert bench.run("/bin/sh", "-c", "exit 7").exit_code == 7
        killed = bench.run("/bin/sh", "-c", "kill -9 $$")
        assert (killed.status, killed.exit_code) == ("failed", 137)
        missing = bench.run("/nowhere/program")
        assert missing.status == "failed"


def test_survivors_are_watched_until_linger_ends_then_nothing_is_left(start_pod: StartPod, pod_name: str) -> None:
    with start_pod() as bench:
        late = "time.sleep(3); open('/tmp/late', 'w'); time.sleep(1000)"
        daemon = f"import os, time\nif os.fork() == 0:\n  os.setsid()\n  {late}"
        phase = bench.python(daemon)
        assert (phase.status, phase.survivors) == ("completed", 1)
        linger = bench.pod.linger(7)
        assert linger.status == "timed-out", "what it would have done next, nobody has seen"
        assert "1 processes had outlived their phase" in linger.reason
        lines = [line for line in bench.trace(phase).splitlines() if '"/tmp/late"' in line]
        assert lines
        assert float(lines[0].split()[1]) >= linger.started - 1.5
        processes = _pod_processes(bench) if pod_name == "bubblewrap" else []
        assert processes or pod_name != "bubblewrap"
        assert bench.pod.stop() == ()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []


def test_a_process_whose_main_thread_has_ended_still_survives(start_pod: StartPod) -> None:
    end_of_thread = "ctypes.CDLL(None).syscall(60, 0)"  # exit(2): of the main thread alone
    beside = "threading.Thread(target=time.sleep, args=(1000,)).start()"
    code = f"import ctypes, os, threading, time\nif os.fork() == 0:\n  {beside}; {end_of_thread}"
    with start_pod() as bench:
        phase = bench.python(code)
        assert (phase.status, phase.survivors) == ("completed", 1)
        assert bench.pod.linger(1).status == "timed-out"


def test_a_survivor_that_is_never_the_same_process_for_long_survives(start_pod: StartPod) -> None:
    """Each forks (without a copy of its memory) and ends: whoever counts looks for one that has gone on already."""
    forks = "b838000000bf0001000031f631d24d31d24d31c00f0585c0"
    code = (
        "import ctypes, mmap, os\n"
        "if os.fork() == 0:\n"
        f"  code = bytes.fromhex('{forks}')\n"
        "  page = mmap.mmap(-1, 4096, prot=7)\n"
        "  page.write(code + bytes([0x7e, 254 - len(code)]) + bytes.fromhex('b83c00000031ff0f05'))\n"
        "  ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()\n"
    )
    with start_pod() as bench:
        assert bench.python(code).status == "completed"
        # Many times, as whoever counts finds one of them now and then.
        lingers = [bench.pod.linger(0.2) for _ in range(12)]
        assert {(linger.status, bool(linger.reason)) for linger in lingers} == {("timed-out", True)}


def test_linger_takes_no_time_when_nothing_survives(start_pod: StartPod) -> None:
    with start_pod() as bench:
        bench.run("/bin/true")
        linger = bench.pod.linger(1000)
        assert linger.ended - linger.started < 100


_WORKER = """
import signal, sys, time
from pathlib import Path
# Whoever runs the tests in the background may have had it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = [{repository!r}]
from sandbox import images
from sandbox.bundle import BundleWriter
from sandbox.pod.bubblewrap import BubblewrapPod
from tests.sandbox.pod.bench import Bench, make_plan
directory = Path({directory!r})
image = images.ensure("debian12-python", Path({cache!r}), print)
with BundleWriter(directory / "bundles", "crashing") as bundle:
    with BubblewrapPod(make_plan(image, directory), bundle.directory) as pod:
        bench = Bench(pod, bundle.directory)
        bench.python("import os, time\\nif os.fork() == 0: time.sleep(1000)")
        print("init", pod._namespaces._init.pid, flush=True)
        bench.python("import time; time.sleep(1000)", seconds=1000)
"""


def _crash(tmp_path: Path, settings: Settings, end: signal.Signals) -> list[psutil.Process]:
    """Start a worker with a busy pod, end the worker, and give the pod's processes as they were."""
    repository = str(Path(__file__).resolve().parents[3])
    code = _WORKER.format(repository=repository, directory=str(tmp_path), cache=str(settings.cache))
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in worker.stdout if line.startswith("init"))
        until = time.monotonic() + 120
        while len(processes := psutil.Process(worker.pid).children(recursive=True)) < 10 and time.monotonic() < until:
            time.sleep(0.05)
        processes += psutil.Process(int(line.split()[1])).children(recursive=True)
        assert len(processes) >= 10
        os.kill(worker.pid, end)
    finally:
        try:
            worker.wait(timeout=120)
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()
    return processes


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["kill-9", "ctrl-c"])
@pytest.mark.usefixtures("base_image")
def test_nothing_is_left_of_a_pod_whose_worker_ends(settings: Settings, tmp_path: Path, end: signal.Signals) -> None:
    processes = _crash(tmp_path, settings, end)
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
    left = [path for path in (tmp_path / "bundles").iterdir() if path.is_dir()]
    assert [path.name for path in left] == (["crashing.partial"] if end is signal.SIGKILL else [])
    with BundleWriter(tmp_path / "bundles", "next"):
        assert [path.name for path in (tmp_path / "bundles").glob("*.partial")] == ["next.partial"]
