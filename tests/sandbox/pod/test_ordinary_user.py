"""The pod of somebody who is not root: one uid to give, and the same walls."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from collector import manifest
from sandbox.images import BaseImage
from sandbox.pod.bubblewrap import BubblewrapPod
from tests.sandbox.pod.bench import Bench, make_plan
from tests.sandbox.pod.somebody import UID, observed

pytestmark = pytest.mark.pod

_ROOT = Path(__file__).resolve().parents[3]
_PROBE = """
import ctypes, json, os, socket, sys
evidence = sys.argv[1]
def attempt(act):
    try:
        return str(act())
    except OSError as error:
        return f"error {error.errno}"
def dial():
    with socket.create_connection(("203.0.113.9", 8080), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        return connection.recv(100).decode(errors="replace")
pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
print(json.dumps({
    "tcp": attempt(dial),
    "raw": [
        attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
        attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)),
        attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))),
    ],
    "interfaces": [name for _, name in socket.if_nameindex()],
    "processes": sorted(open(f"/proc/{pid}/comm").read().strip() for pid in pids),
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")],
    "identity": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
    "become root": attempt(lambda: os.setuid(0)),
    "own user namespace": ctypes.CDLL(None).unshare(0x10000000),
    "writable": [
        path for path in ("/x", "/etc/passwd", "/usr/bin/python3", "/opt/fumehood/importer.py", "/opt/artefact/x")
        if not attempt(lambda: open(path, "ab")).startswith("error")
    ],
    "evidence": [
        path for path in (evidence, "/proc/1/root" + evidence, "/proc/1/cwd" + evidence) if os.path.exists(path)
    ],
    "memory of process 1": attempt(lambda: open("/proc/1/mem", "rb").read(1)),
    "bait": open(os.path.expanduser("~/.ssh/id_ed25519")).readline(),
}))
"""


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod's owner saw of it."""

    owner: int
    isolation: manifest.Isolation
    phases: dict[str, manifest.Phase]
    errors: str
    probe: Any
    after: str
    trace_of_timeout: str
    trace_of_survivor: str
    gateway: str
    unfinished: tuple[str, ...]
    watched: int
    left: list[str]


def _observe(directory: Path, rootfs: Path, python: str) -> _Seen:
    """Start a pod, misbehave in it, stop it. Whoever calls this is its owner."""
    evidence = directory / "evidence"
    evidence.mkdir()
    described = manifest.Image(name="base", digest="", python=python, pip="")
    image = BaseImage(rootfs=rootfs, image=described, default_index_url="", registry_hosts=())
    with BubblewrapPod(make_plan(image, directory), evidence) as pod:
        bench = Bench(pod, evidence)
        probe = bench.run("/usr/bin/python3", "-c", _PROBE, str(evidence), seconds=240)
        endless = bench.python("import os, time\nos.fork()\nos.setsid() if os.getpid() % 2 else 0\ntime.sleep(999)", 4)
        after = bench.run("/bin/echo", "the run goes on")
        late = "time.sleep(3); open('/tmp/late', 'w'); time.sleep(999)"
        survivor = bench.python(f"import os, time\nif os.fork() == 0:\n  os.setsid()\n  {late}")
        linger = pod.linger(7)
        processes = psutil.Process().children(recursive=True)
        unfinished = pod.stop()
    _, left = psutil.wait_procs(processes, timeout=60)
    phases = {"probe": probe, "endless": endless, "after": after, "survivor": survivor, "linger": linger}
    return _Seen(
        owner=os.getuid(),
        isolation=pod.isolation,
        phases=phases,
        errors=bench.output(probe, "stderr"),
        probe=json.loads(bench.output(probe) or "{}"),
        after=bench.output(after),
        trace_of_timeout=bench.trace(endless),
        trace_of_survivor=bench.trace(survivor),
        gateway=(evidence / "gateway/gateway.jsonl").read_text(),
        unfinished=unfinished,
        watched=len(processes),
        left=[str(process) for process in left],
    )


@pytest.fixture(scope="module")
def seen(base_image: BaseImage) -> _Seen:
    """What an ordinary user sees."""
    return msgspec.json.decode(observed("tests.sandbox.pod.test_ordinary_user", base_image), type=_Seen)


def test_the_pod_is_an_ordinary_users_and_says_so(seen: _Seen) -> None:
    assert seen.owner == (os.getuid() or UID)
    assert (seen.isolation.outer_user, seen.isolation.uid_ranges) == ("user", 1)
    probe = seen.phases["probe"]
    assert (probe.status, probe.trace_complete) == ("completed", True), (probe.reason, seen.errors)


def test_the_walls_are_the_same(seen: _Seen) -> None:
    probe = seen.probe
    assert probe["tcp"].startswith("HTTP/1.1 "), "the gateway answered, in the name of the one that was dialled"
    assert '"ip":"203.0.113.9","port":8080' in seen.gateway
    assert all(outcome.startswith("error ") for outcome in probe["raw"]), probe["raw"]
    assert probe["interfaces"] == ["lo"]
    assert probe["processes"] == ["bwrap", "python3"]
    assert set(probe["capabilities"]) == {"0000000000000000"}
    assert probe["identity"] == [1000] * 4
    assert probe["become root"].startswith("error ")
    assert probe["own user namespace"] == -1, "in one it would have capabilities again"
    assert probe["writable"] == []
    assert probe["evidence"] == []
    assert probe["memory of process 1"].startswith("error ")
    assert probe["bait"].startswith("-----BEGIN"), "what is planted belongs to the package's user"


def test_a_phase_without_end_is_ended_and_the_next_one_runs(seen: _Seen) -> None:
    endless = seen.phases["endless"]
    assert (endless.status, endless.reason) == ("timed-out", "not finished after 4 s")
    assert seen.trace_of_timeout.count("+++ killed by SIGKILL +++") >= 2, "the tracer saw both ends"
    assert (seen.phases["after"].status, seen.after) == ("completed", "the run goes on\n")


def test_a_survivor_is_watched_and_nothing_is_left(seen: _Seen) -> None:
    survivor, linger = seen.phases["survivor"], seen.phases["linger"]
    assert (survivor.status, survivor.survivors) == ("completed", 1)
    assert linger.status == "timed-out"
    assert '"/tmp/late"' in seen.trace_of_survivor
    assert seen.unfinished == ()
    assert seen.watched > 3, "init, gateway, tracer and survivor lived until the end"
    assert seen.left == []


if __name__ == "__main__":
    told = _observe(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    sys.stdout.write(f"{msgspec.json.encode(told).decode()}\n")
