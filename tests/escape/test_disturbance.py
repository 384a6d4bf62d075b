"""Programs that disturb the pod itself. Each has a pod of its own; the next phase must run, and the trace be whole."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from collector.findings import match
from collector.live_processes import ProcessTableBuilder
from collector.sigma.load import load_rules
from collector.sigma.view import Context
from collector.syscalls import read_trace
from sandbox.pod import choose
from sandbox.pod.interface import PhaseCommand
from sandbox.profile import PhaseBudget
from sandbox.resources import rules_directory
from sandbox.settings import Settings
from tests.escape.stage import is_told, shown
from tests.sandbox.pod.bench import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.events import AnyEvent
    from collector.manifest import Phase
    from sandbox.images import BaseImage
    from sandbox.pod.interface import Pod


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """One row: what is run as the command of a phase, and how that phase may end."""

    name: str
    code: str
    ends: tuple[str, ...]
    """Statuses that the phase may have; one that hangs must not be among them."""
    told: str
    finding: str = ""
    seconds: int = 240
    survives: bool = False
    """Whether it leaves something behind that outlives its phase."""


_KILL = "process.access call=kill"
DISTURBANCES = (
    Disturbance(
        name="kill-everything",
        code="""
child = os.fork()
if child == 0:
    os.kill(-1, signal.SIGKILL)
    os._exit(0)
time.sleep(1000)
""",
        ends=("failed",),
        told=_KILL,
        finding="foreign-process-signalled",
    ),
    Disturbance(
        name="kill-one-after-the-other",
        code="""
for how in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if pid != os.getpid():
            try:
                os.kill(pid, how)
            except OSError:
                pass
""",
        ends=("completed", "failed"),
        told=_KILL,
        finding="foreign-process-signalled",
    ),
    Disturbance(
        name="stop-everything",
        code="""
for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
    if pid != os.getpid():
        try:
            os.kill(pid, signal.SIGSTOP)
        except OSError:
            pass
os.kill(os.getpid(), signal.SIGSTOP)
""",
        ends=("timed-out",),
        told=_KILL,
        finding="foreign-process-signalled",
        seconds=6,
    ),
    Disturbance(
        name="kill-the-group-and-the-session",
        code="""
child = os.fork()
if child == 0:
    os.kill(0, signal.SIGKILL)
os.wait()
""",
        ends=("failed",),
        told="process.exit signal=SIGKILL",
    ),
    Disturbance(
        name="storm-of-zombies",
        code="""
for _ in range(200):
    if os.fork() == 0:
        os._exit(0)
""",
        ends=("completed",),
        told="process.start",
    ),
    Disturbance(
        name="daemons-in-sessions-of-their-own",
        code="""
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
for _ in range(20):
    os.wait()
""",
        ends=("completed",),
        told="process.start",
        survives=True,
    ),
    Disturbance(
        name="race-with-the-end-of-the-phase",
        code="""
if os.fork() == 0:
    while True:
        if os.fork():
            os._exit(0)
        time.sleep(0.002)
""",
        ends=("completed",),
        told="process.start",
        survives=True,
    ),
    Disturbance(
        name="race-with-the-end-of-the-budget",
        code="""
while True:
    if os.fork() == 0:
        os.fork()
        time.sleep(0.01)
        os._exit(0)
    while True:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                break
        except ChildProcessError:
            break
    time.sleep(0.005)
""",
        ends=("timed-out",),
        told="process.start",
        seconds=6,
    ),
    Disturbance(
        name="every-descriptor-closed",
        code="""
os.closerange(0, 1 << 16)
if os.fork() == 0:
    open("/tmp/escape.mute", "w").close()
    os._exit(0)
os.wait()
""",
        ends=("completed",),
        told="file.write path=/tmp/escape.mute",
    ),
    Disturbance(
        name="descriptors-flooded",
        code="""
for number in range(3, 4000):
    try:
        os.write(number, b'{ "exit-code": 0 }\\n{"exit": 0}\\n')
    except OSError:
        pass
open("/tmp/escape.loud", "w").close()
raise SystemExit(7)
""",
        ends=("failed",),
        told="file.write path=/tmp/escape.loud",
    ),
)


@contextmanager
def _pod(name: str, image: BaseImage, directory: Path, cache: Path) -> Iterator[tuple[Pod, Path]]:
    evidence = directory / "evidence"
    evidence.mkdir()
    kind, _, runtime = name.partition("-")
    wanted = choose.Wanted(pod="docker", runtime=runtime or kind) if name != "bubblewrap" else choose.Wanted()
    with choose.choose(wanted, make_plan(image, directory), evidence, cache, print) as pod:
        yield pod, evidence


def _run(pod: Pod, name: str, code: str, mark: str, seconds: int) -> Phase:
    argv = ("/usr/bin/python3", "-c", f"import os, signal, time\n{code}", mark)
    return pod.run(PhaseCommand(name=name, argv=argv, budget=PhaseBudget(seconds=seconds)), print)


def _told(phase: Phase, evidence: Path) -> tuple[list[AnyEvent], set[str], int]:
    """Events of a phase, names of the rules that fire on them, and how many lines nobody understood."""
    table = ProcessTableBuilder()
    with (evidence / "traces" / f"{phase.name}.strace").open("rb") as lines:
        trace = read_trace(phase, phase.trace, (line.rstrip(b"\n") for line in lines), table)
    context = Context("/home/martin", "martin", table.build())
    found = match(load_rules(rules_directory()), trace.events, context)
    return list(trace.events), {finding.name for finding in found}, trace.counts.unparsed


def _marked(mark: str) -> list[str]:
    return [" ".join(words) for p in psutil.process_iter(["cmdline"]) if mark in (words := p.info["cmdline"] or ())]


@pytest.mark.parametrize("row", DISTURBANCES, ids=lambda row: row.name)
def test_the_pod_stands_and_everything_is_told(
    pod: str, row: Disturbance, base_image: BaseImage, tmp_path: Path
) -> None:
    mark = f"fumehood-escape-{secrets.token_hex(6)}"
    cache = Settings.from_environment(os.environ).cache
    with _pod(pod, base_image, tmp_path, cache) as (running, evidence):
        phase = _run(running, "import", row.code, mark, row.seconds)
        after = _run(running, "exercise", "print('still here')", mark, 240)
        lingered = running.linger(0.5)
        unfinished = running.stop()
        events, findings, unparsed = _told(phase, evidence)
        said = (evidence / "output" / "exercise.stdout").read_text()
    assert phase.status in row.ends, phase
    assert (after.status, said) == ("completed", "still here\n"), after
    # The tracer outlived it: whatever was done stands in the trace, to the end.
    assert phase.trace_complete
    assert (unfinished, unparsed) == ((), 0)
    # What was still running at the end is a gap, however hard it is to count.
    assert (lingered.status == "timed-out") is row.survives, lingered
    assert is_told(row.told, events), shown(events)
    assert row.finding in {"", *findings}, shown(events)
    until = time.monotonic() + 60
    while _marked(mark) and time.monotonic() < until:
        time.sleep(0.05)
    assert _marked(mark) == []
