"""What the processes of a phase use together is limited: each limit is hit, told with how much, and the run goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from collector import gateway, limits
from sandbox.pod import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.manifest import Phase
    from tests.sandbox.pod.bench import Bench, StartPod

pytestmark = pytest.mark.pod

_MEGABYTE = 1 << 20
_LITTLE = {"memory_mb": 160, "address_mb": 4096, "disk_mb": 64}


def _next_phase_runs(bench: Bench) -> None:
    after = bench.run("/bin/echo", "the run goes on")
    assert (after.status, after.trace_complete) == ("completed", True)
    assert bench.output(after) == "the run goes on\n"
    assert '"the run goes on' in bench.trace(after)


def _curve(bench: Bench, phase: Phase) -> Iterator[int]:
    return (sample.rss_bytes for sample in bench.pod.samples() if sample.phase == phase.name)


def test_memory_of_all_processes_together(start_pod: StartPod, pod_name: str) -> None:
    # gVisor does not say what is shared: there the largest process counts alone.
    processes, megabytes = (1, 240) if pod_name == "docker-runsc" else (4, 60)
    code = (
        "import os, time\n"
        "print('started', flush=True)\n"
        f"for _ in range({processes}):\n"
        "  if os.fork() == 0:\n"
        f"    kept = b'x' * ({megabytes} << 20); time.sleep(1000)\n"
        "time.sleep(1000)"
    )
    with start_pod(**_LITTLE) as bench:
        phase = bench.python(code)
        assert phase.status == "oom"
        (hit,) = phase.limits
        assert (hit.name, hit.limit, hit.unit, hit.ended, hit.what) == ("memory", 160 * _MEGABYTE, "bytes", True, "")
        assert 160 * _MEGABYTE < hit.seen < 320 * _MEGABYTE
        assert phase.reason == f"ended at a limit: {limits.words(hit)}"
        assert "of at most 160 MiB" in phase.reason
        assert phase.trace_complete is True, "what it did until then is all there"
        assert bench.output(phase) == "started\n"
        assert max(_curve(bench, phase)) >= 160 * _MEGABYTE
        _next_phase_runs(bench)


def test_memory_that_forks_share_counts_once(start_pod: StartPod) -> None:
    code = (
        "import os, time\n"
        "kept = b'x' * (80 << 20)\n"
        "children = [os.fork() for _ in range(2)]\n"
        "time.sleep(2)\n"
        "for child in children: child and os.waitpid(child, 0)"
    )
    with start_pod(**_LITTLE) as bench:
        phase = bench.python(code)
        assert (phase.status, phase.limits) == ("completed", ())
        assert max(_curve(bench, phase)) > 160 * _MEGABYTE, "or the test would show nothing"


@pytest.mark.parametrize("ignore", [False, True], ids=["children-waited-for", "children-ignored"])
def test_processor_time_of_ended_processes_counts(start_pod: StartPod, *, ignore: bool) -> None:
    # No process uses more than a fraction of the limit.
    code = (
        "import os, signal, time\n"
        f"if {ignore}: signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "while True:\n"
        "  child = os.fork()\n"
        "  if child == 0:\n"
        "    while time.process_time() < 0.4: pass\n"
        "    os._exit(0)\n"
        "  try: os.waitpid(child, 0)\n"
        "  except ChildProcessError: pass"
    )
    with start_pod(cpu_seconds=2) as bench:
        phase = bench.python(code, seconds=240)
        assert phase.status == "killed"
        (hit,) = phase.limits
        assert (hit.name, hit.limit, hit.unit, hit.ended) == ("cpu", 2, "seconds", True)
        assert 2 <= hit.seen <= 4
        assert phase.reason == f"ended at a limit: processor time {hit.seen} s of at most 2 s"
        assert phase.trace_complete is True
        _next_phase_runs(bench)


def test_processor_time_of_one_process(start_pod: StartPod) -> None:
    with start_pod(cpu_seconds=1) as bench:
        phase = bench.python("while True: pass", seconds=240)
        assert (phase.status, [hit.name for hit in phase.limits]) == ("killed", ["cpu"])
        _next_phase_runs(bench)


def test_processes_that_the_kernel_refuses_are_told(start_pod: StartPod, pod_name: str) -> None:
    code = (
        "import os, signal, time\n"
        "children = []\n"
        "while True:\n"
        "  try: child = os.fork()\n"
        "  except BlockingIOError: break\n"
        "  if child == 0: time.sleep(1000)\n"
        "  children.append(child)\n"
        "print(len(children), flush=True)\n"
        "time.sleep(2)\n"
        "for child in children: os.kill(child, signal.SIGKILL); os.waitpid(child, 0)"
    )
    with start_pod(processes=64) as bench:
        phase = bench.python(code)
        if pod_name == "docker-runsc":
            # What gVisor refuses the runner sees too, or it ends the phase, or the sandbox meets the container's limit.
            assert phase.status == "killed" or [hit.name for hit in phase.limits] == ["processes"]
            return
        (hit,) = phase.limits
        assert (phase.status, phase.exit_code) == ("completed", 0), "it took it quietly"
        assert (hit.name, hit.limit, hit.unit, hit.ended) == ("processes", 64, "processes", False)
        assert 62 <= hit.seen <= 64
        assert 40 <= int(bench.output(phase)) < 64
        _next_phase_runs(bench)


def test_many_processes_below_the_limit_are_no_hit(start_bubblewrap: StartPod) -> None:
    code = "import os, time\nchildren = [os.fork() for _ in range(5)]\ntime.sleep(4)\nos.wait() if all(children) else 0"
    with start_bubblewrap(processes=128) as bench:
        phase = bench.python(code)
        assert phase.limits == ()
        assert max(sample.processes for sample in bench.pod.samples()) == 32


def test_a_full_disk_of_the_pod_is_told(start_pod: StartPod, pod_name: str) -> None:
    code = (
        "import os, time\n"
        "try:\n"
        "  with open('/tmp/big', 'wb', 0) as big:\n"
        "    while True: big.write(b'x' * 65536)\n"
        "except OSError as error: print(error.errno, flush=True)\n"
        "time.sleep(3); os.remove('/tmp/big')"
    )
    with start_pod(disk_mb=32) as bench:
        phase = bench.python(code)
        assert (phase.status, phase.exit_code) == ("completed", 0), "it took it quietly"
        assert bench.output(phase) == "28\n"
        (hit,) = phase.limits
        # In a Docker pod each writable place has its part of the disk.
        place, limit = ("", 32 * _MEGABYTE) if pod_name == "bubblewrap" else ("/tmp", hit.limit)
        assert (hit.name, hit.what, hit.limit, hit.unit, hit.ended) == ("disk", place, limit, "bytes", False)
        assert _MEGABYTE <= hit.limit <= 32 * _MEGABYTE
        assert hit.limit - _MEGABYTE < hit.seen <= hit.limit
        _next_phase_runs(bench)


def test_a_pod_without_room_for_another_file_is_full_too(start_bubblewrap: StartPod) -> None:
    code = (
        "import time\n"
        "number = 0\n"
        "try:\n"
        "  while True:\n"
        "    open(f'/tmp/{number}', 'w').close(); number += 1\n"
        "except OSError as error: print(error.errno, flush=True)\n"
        "time.sleep(3)"
    )
    with start_bubblewrap(disk_mb=64, trace_mb=1000) as bench:
        phase = bench.python(code, seconds=240)
        assert bench.output(phase) == "28\n"
        assert [hit.name for hit in phase.limits] == ["disk"]


def test_address_space_is_the_packages_own_failure(start_pod: StartPod) -> None:
    with start_pod(address_mb=256) as bench:
        phase = bench.python("kept = b'x' * (300 << 20)")
        assert (phase.status, phase.exit_code, phase.limits) == ("failed", 1, ())
        assert "MemoryError" in bench.output(phase, "stderr")


def test_output_over_its_limit_says_how_much(start_pod: StartPod) -> None:
    code = "import os\nfor _ in range(64): os.write(1, b'x' * 4096)\nos.write(2, b'y' * 1025)"
    with start_pod(output_kb=1) as bench:
        phase = bench.python(code)
        assert phase.status == "completed"
        assert phase.output_truncated is True
        found = {(hit.what, hit.limit, hit.seen, hit.lost) for hit in phase.limits if hit.name == "output"}
        assert found == {("stdout", 1024, 64 * 4096, 63 * 4096 + 3072), ("stderr", 1024, 1025, 1)}
        assert len(bench.output(phase)) == 1024
        _next_phase_runs(bench)


def test_a_full_disk_with_the_evidence_ends_the_phase(start_pod: StartPod, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_pod() as bench:
        with monkeypatch.context() as patch:
            patch.setattr(outcome, "EVIDENCE_RESERVE", 1 << 60)
            phase = bench.python("import time; time.sleep(1000)")
        assert (phase.status, phase.trace_complete) == ("killed", False)
        (hit,) = phase.limits
        assert (hit.name, hit.limit, hit.ended) == ("evidence-disk", 1 << 60, True)
        assert 0 < hit.seen < hit.limit
        _next_phase_runs(bench)


def _gateway_hits(bench: Bench, phases: list[Phase]) -> dict[str, list[tuple[str, int, int]]]:
    bench.pod.stop()
    lines = (bench.directory / "gateway" / "gateway.jsonl").read_bytes().splitlines()
    found = limits.by_phase(gateway.read(lines).losses, phases)
    return {phase: [(hit.name, hit.limit, hit.lost) for hit in hits] for phase, hits in found.items()}


def test_connections_over_their_limit_are_counted_in_their_phase(start_pod: StartPod) -> None:
    code = (
        "import socket\n"
        "kept = [socket.create_connection(('192.0.2.7', 99)) for _ in range({})]\n"
        "print(sum(s.recv(1) == b'' for s in kept[4:]))"
    )
    with start_pod(connections=4) as bench:
        quiet = bench.python(code.format(4))
        time.sleep(2)  # The gateway learns that its clients have gone.
        loud = bench.python(code.format(11))
        assert (quiet.status, loud.status) == ("completed", "completed")
        assert bench.output(loud) == "7\n"
        after = bench.run("/bin/true")
        assert _gateway_hits(bench, [quiet, loud, after]) == {loud.name: [("connections", 4, 7)]}


def test_network_records_over_their_limit_are_counted_in_their_phase(start_pod: StartPod) -> None:
    code = (
        "import socket\n"
        "s = socket.create_connection(('192.0.2.7', 80))\n"
        "s.sendall(b'POST / HTTP/1.0\\r\\nHost: a.test\\r\\nContent-Length: {0}\\r\\n\\r\\n' + b'x' * {0})\n"
        "while s.recv(4096): pass"
    )
    with start_pod(gateway_mb=1) as bench:
        first = bench.python(code.format(600_000))
        second = bench.python(code.format(900_000))
        after = bench.run("/bin/true")
        found = _gateway_hits(bench, [first, second, after])
        assert list(found) == [second.name]
        ((name, limit, lost),) = found[second.name]
        assert (name, limit) == ("gateway-bytes", _MEGABYTE)
        assert lost > 900_000


def test_what_a_phase_left_is_ended_at_the_limits_and_told_where_it_happens(start_pod: StartPod) -> None:
    lock = "import fcntl, os, time\nfile = open('/tmp/lock', 'w')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
    with start_pod(cpu_seconds=1) as bench:
        left = bench.python(f"{lock}if os.fork() == 0:\n  os.setsid(); time.sleep(0.5)\n  while True: pass")
        assert (left.status, left.survivors, left.limits) == ("completed", 1, ())
        # It has the lock when what was left, which had it, has been ended, however long that takes here.
        current = bench.python(f"{lock}time.sleep(2)", seconds=240)
        assert current.status == "completed", "it has done nothing"
        (hit,) = current.limits
        assert (hit.name, hit.what, hit.ended) == ("cpu", f"left by {left.name}", False)
        assert bench.pod.linger(5).reason == ""


def test_what_lingers_is_held_to_the_limits(start_pod: StartPod) -> None:
    code = "import os, time\nif os.fork() == 0:\n  time.sleep(0.5); kept = b'x' * (300 << 20); time.sleep(1000)"
    with start_pod(**_LITTLE) as bench:
        phase = bench.python(code)
        assert phase.survivors == 1
        linger = bench.pod.linger(240)
        (hit,) = linger.limits
        assert (hit.name, hit.what) == ("memory", f"left by {phase.name}")
        assert linger.ended - linger.started < 200
        assert bench.pod.stop() == (), "the trace is whole"


def test_samples_of_a_phase(start_pod: StartPod) -> None:
    code = (
        "import os, time\n"
        "kept = b'x' * (50 << 20)\n"
        "with open('/tmp/f', 'wb') as f: f.write(kept)\n"
        "while time.process_time() < 0.7: pass\n"
        "time.sleep(1.5)"
    )
    with start_pod() as bench:
        phase = bench.python(code)
        samples = [sample for sample in bench.pod.samples() if sample.phase == phase.name]
        assert len(samples) >= 5
        assert all(phase.started <= sample.ts <= phase.ended for sample in samples)
        assert max(sample.rss_bytes for sample in samples) > 50 * _MEGABYTE
        assert {sample.processes for sample in samples} >= {1}
        assert 0.5 <= max(sample.cpu_seconds for sample in samples) < 5
        assert max(sample.written_bytes for sample in samples) >= 50 * _MEGABYTE
        growing = [(sample.cpu_seconds, sample.read_bytes, sample.written_bytes) for sample in samples]
        assert growing == sorted(growing)
