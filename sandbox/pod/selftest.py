"""Whether the tracer sees everything on this machine: a known program, whose calls are counted.

A tracer that loses events would make a package look better than it is. gVisor, for one, loses about half of them when
strace asks for `--seccomp-bpf`. So each kind of pod is tried once on each kernel, and what was found is kept.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

import msgspec

from sandbox.errors import PodError
from sandbox.pod.interface import PhaseCommand, Pod, PodPlan
from sandbox.profile import PhaseBudget
from sandbox.tracer import TracerMode

if TYPE_CHECKING:
    from collections.abc import Callable

MakePod: TypeAlias = "Callable[[PodPlan, Path], Pod]"

_FORKS, _THREADS, _OPENS, _PROGRAMS = 8, 4, 10, 5
_NOWHERE = "/fumehood-self-test"
_PROGRAM = f"""
import os, threading
def probe(name):
    for i in range({_OPENS}):
        try:
            open("{_NOWHERE}/%s/%d" % (name, i))
        except OSError:
            pass
for n in range({_FORKS}):
    if os.fork() == 0:
        probe("fork%d" % n)
        os._exit(0)
threads = [threading.Thread(target=probe, args=("thread%d" % n,)) for n in range({_THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for n in range({_PROGRAMS}):
    if os.fork() == 0:
        os.execv("/bin/cat", ["cat", "{_NOWHERE}/program%d/0" % n])
for n in range({_FORKS + _PROGRAMS}):
    os.wait()
"""
_SECONDS = 60
_OPENED = re.compile(rf'open(?:at)?\([^"]*"{_NOWHERE}/([a-z0-9]+)/\d+"')
_EXECUTED = re.compile(r'execve\("/bin/cat"')


class _Kept(msgspec.Struct, frozen=True):
    """The file in the cache."""

    key: tuple[str, ...]
    mode: TracerMode


def tracer_mode(make: MakePod, plan: PodPlan, key: tuple[str, ...], cache: Path) -> TracerMode:
    """The fastest way of tracing that loses nothing.

    Args:
        make: Makes a pod.
        plan: What to make it from; the way of tracing in it is not used.
        key: What the answer depends on: the pod's kind, its runtime, the kernel, versions.
        cache: fumehood's cache directory.

    Raises:
        PodError: The pod does not start here, or every way loses calls.
    """
    path = cache / "tracer" / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:16]}.json"
    if (kept := _read(path)) is not None and kept.key == key:
        return kept.mode
    lost = ""
    modes: tuple[TracerMode, ...] = get_args(TracerMode)
    for mode in modes:
        lost = _lost(make, msgspec.structs.replace(plan, tracer_mode=mode))
        if not lost:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{id(path)}")
            partial.write_bytes(msgspec.json.encode(_Kept(key=key, mode=mode)))
            partial.replace(path)
            return mode
    raise PodError(f"the tracer loses calls in this pod ({lost}): use another --pod or --runtime")


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _lost(make: MakePod, plan: PodPlan) -> str:
    """Run the known program; says what is missing in the trace, empty when nothing is."""
    command = PhaseCommand(
        name="self-test", argv=("/usr/bin/python3", "-c", _PROGRAM), budget=PhaseBudget(seconds=_SECONDS)
    )
    with tempfile.TemporaryDirectory(prefix="fumehood-") as directory:
        with make(plan, Path(directory)) as pod:
            phase = pod.run(command, lambda _: None)
            pod.stop()
        trace = Path(directory, "traces", "self-test.strace")
        text = trace.read_text(errors="backslashreplace") if trace.exists() else ""
    if phase.status != "completed":
        return f"the self-test {phase.status}: {phase.reason}"
    return missing(text)


def missing(trace: str) -> str:
    """What of the known program's calls is not in its trace; empty when nothing is."""
    wanted = Counter({f"{kind}{n}": _OPENS for kind, count in _WORKERS for n in range(count)})
    wanted.update({f"program{n}": 1 for n in range(_PROGRAMS)})
    seen = Counter(_OPENED.findall(trace))
    gone = wanted - seen
    if gone:
        return f"{gone.total()} of {wanted.total()} opens are not in the trace"
    executed = len(_EXECUTED.findall(trace))
    if executed != _PROGRAMS:
        return f"{_PROGRAMS - executed} of {_PROGRAMS} programs are not in the trace"
    return ""


_WORKERS = (("fork", _FORKS), ("thread", _THREADS))
