"""The limits of a phase as a whole hold where the pod is an ordinary user's: no control group, no privilege."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from collector import manifest
from collector.resources import Sample
from sandbox.images import BaseImage
from sandbox.pod.bubblewrap import BubblewrapPod
from tests.sandbox.pod.bench import Bench, make_plan
from tests.sandbox.pod.somebody import observed

pytestmark = pytest.mark.pod

_ROOT = Path(__file__).resolve().parents[3]
_LIMITS = {"memory_mb": 160, "address_mb": 4096, "disk_mb": 32, "processes": 64, "cpu_seconds": 2}
_CODES = {
    "quiet": "import time; kept = b'x' * (40 << 20); time.sleep(2)",
    "memory": "import os, time\nfor _ in range(4): os.fork() or (b'x' * (60 << 20), time.sleep(999))\ntime.sleep(999)",
    "shared": "import os, time\nkept = b'x' * (80 << 20)\n[os.fork() for _ in range(2)]\ntime.sleep(2)",
    "cpu": (
        "import os, time\n"
        "while True:\n"
        "  if os.fork() == 0:\n"
        "    while time.process_time() < 0.4: pass\n"
        "    os._exit(0)\n"
        "  os.wait()"
    ),
    "processes": (
        "import os, time\n"
        "while True:\n"
        "  try: child = os.fork()\n"
        "  except BlockingIOError: break\n"
        "  if child == 0: time.sleep(2); os._exit(0)\n"
        "time.sleep(3)"
    ),
    "disk": (
        "import os, time\n"
        "try:\n"
        "  with open('/tmp/big', 'wb', 0) as big:\n"
        "    while True: big.write(b'x' * 65536)\n"
        "except OSError: time.sleep(3)\n"
        "os.remove('/tmp/big')"
    ),
    "after": "print('the run goes on')",
}


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    owner: int
    phases: dict[str, manifest.Phase]
    samples: tuple[Sample, ...]


def _observe(directory: Path, rootfs: Path, python: str) -> _Seen:
    """Meet each limit in turn. Whoever calls this is the pod's owner."""
    evidence = directory / "evidence"
    evidence.mkdir()
    described = manifest.Image(name="base", digest="", python=python, pip="")
    image = BaseImage(rootfs=rootfs, image=described, default_index_url="", registry_hosts=())
    with BubblewrapPod(make_plan(image, directory, **_LIMITS), evidence) as pod:
        bench = Bench(pod, evidence)
        phases = {name: bench.python(code, seconds=240) for name, code in _CODES.items()}
        return _Seen(owner=os.getuid(), phases=phases, samples=pod.samples())


@pytest.fixture(scope="module")
def seen(base_image: BaseImage) -> _Seen:
    """What an ordinary user sees."""
    return msgspec.json.decode(observed("tests.sandbox.pod.test_totals_of_a_user", base_image), type=_Seen)


@pytest.mark.parametrize(
    ("name", "status", "hits"),
    [
        ("quiet", "completed", []),
        ("memory", "oom", [("memory", True)]),
        ("shared", "completed", []),
        ("cpu", "killed", [("cpu", True)]),
        ("processes", "completed", [("processes", False)]),
        ("disk", "completed", [("disk", False)]),
        ("after", "completed", []),
    ],
)
def test_each_limit(seen: _Seen, name: str, status: str, hits: list[tuple[str, bool]]) -> None:
    assert seen.owner != 0
    phase = seen.phases[name]
    assert (phase.status, [(hit.name, hit.ended) for hit in phase.limits]) == (status, hits)
    assert phase.trace_complete is True


def test_samples(seen: _Seen) -> None:
    quiet = [sample for sample in seen.samples if sample.phase == seen.phases["quiet"].name]
    assert max(sample.rss_bytes for sample in quiet) > 40 << 20
    assert max(sample.read_bytes for sample in quiet) > 0, "of its own pod a user may know"


if __name__ == "__main__":
    told = _observe(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    sys.stdout.write(f"{msgspec.json.encode(told).decode()}\n")
