"""The self-test tells lost calls from a test that did not complete, and proves that the network ends at the gateway."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sandbox.errors import PodError
from sandbox.pod import choose, fingerprint, known_program, selftest
from sandbox.pod.bubblewrap import BubblewrapPod
from tests.sandbox.pod.bench import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.manifest import Phase
    from sandbox.images import BaseImage
    from sandbox.pod.interface import PhaseCommand, PodPlan

pytestmark = pytest.mark.pod

_KEY = ("a pod",)
_WORKERS = [*(f"fork{n}" for n in range(8)), *(f"thread{n}" for n in range(4))]
_OPENS = [
    f'1 1.1 openat(AT_FDCWD</>, "/fumehood-self-test/{worker}/{n}") = -1' for worker in _WORKERS for n in range(10)
]
_PROGRAMS = [f'1 1.1 openat(AT_FDCWD</>, "/fumehood-self-test/program{n}/0") = -1' for n in range(5)]
_EXECUTED = ['1 1.1 execve("/bin/cat", ["cat"]) = 0'] * 5
_REFUSED = [f"1 1.1 {call}(0) = -1 EPERM" for call in ("unshare", "ptrace", "io_uring_setup") for _ in _WORKERS]
_DIALLED = ['1 1.1 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("198.51.100.77")}, 16) = 0']
_COMPLETE = [*_OPENS, *_PROGRAMS, *_EXECUTED, *_REFUSED, *_DIALLED]


def _missing(lines: list[str]) -> str:
    return known_program.missing_calls("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        (_COMPLETE, ""),
        (_COMPLETE[1:], "1 of 125 opens are not in the trace"),
        ([*_COMPLETE, *_OPENS[:1]][1:-1], "1 of 125 opens are not in the trace"),
        ([line for line in _COMPLETE if line not in _EXECUTED] + _EXECUTED[1:], "1 of 5 programs are not in the trace"),
        ([line for line in _COMPLETE if line != _REFUSED[0]], "12 of 36 refused calls are not in the trace"),
        (_COMPLETE[:-1], "1 of 1 connections are not in the trace"),
        ([], "125 of 125 opens are not in the trace"),
    ],
)
def test_what_is_missing_in_a_trace_is_counted(lines: list[str], lost: str) -> None:
    assert _missing(lines) == lost


def test_what_did_not_reach_the_gateway_is_told() -> None:
    connection = (
        b'{"record":"connection","ts":1,"conn":1,"peer_port":1,"ip":"198.51.100.77","port":4711,"protocol":"raw"}'
    )
    question = b'{"record":"dns","ts":1,"peer_port":1,"transport":"udp","name":"self-test.fumehood.test","qtype":"A"}'
    end = b'{"record":"end","ts":1,"records":2}'
    assert known_program.network([connection, question, end]) == known_program.Network(whole=True, missing="")
    assert known_program.network([question, end]).missing == "a connection"
    assert (
        known_program.network([connection.replace(b"4711", b"4712"), end]).missing == "a connection and a DNS question"
    )
    assert not known_program.network([connection, question, end[:10]]).whole


class _Made:
    """Makes real pods and keeps count; a phase may be changed on its way out of one."""

    def __init__(
        self, change: Callable[[PodPlan, Path, Phase], Phase] = lambda _plan, _directory, phase: phase
    ) -> None:
        self.plans: list[PodPlan] = []
        self.directories: list[Path] = []
        self._change = change

    def __call__(self, plan: PodPlan, directory: Path) -> BubblewrapPod:
        self.plans.append(plan)
        self.directories.append(directory)
        change = self._change

        class Changed(BubblewrapPod):
            def run(self, command: PhaseCommand, note: Callable[[str], None]) -> Phase:
                return change(plan, directory, super().run(command, note))

        return Changed(plan, directory)


def _try(made: Callable[[PodPlan, Path], Any], plan: PodPlan, place: Path) -> selftest.Tested:
    (place / "run").mkdir(exist_ok=True)
    return selftest.tracer(made, plan, _KEY, place / "cache", place / "run")


def _kept(place: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in (place / "cache").glob("tracer/*")]


def test_a_pod_that_sees_everything_passes_once_and_leaves_nothing(base_image: BaseImage, tmp_path: Path) -> None:
    made = _Made()
    plan = make_plan(base_image, tmp_path)
    assert _try(made, plan, tmp_path) == selftest.Tested(mode="seccomp-bpf", outcome="passed")
    (directory,) = made.directories
    assert directory.parent == tmp_path / "run", "where a run that is killed leaves it, the next one removes it"
    assert list((tmp_path / "run").iterdir()) == []
    assert _kept(tmp_path) == [{"key": ["a pod"], "mode": "seccomp-bpf"}]
    assert _try(made, plan, tmp_path).outcome == "passed"
    assert len(made.plans) == 1, "the answer was kept"


def test_the_profiles_small_limits_and_its_environment_say_nothing_of_the_tracer(
    base_image: BaseImage, tmp_path: Path
) -> None:
    plan = make_plan(
        base_image, tmp_path, memory_mb=64, address_mb=64, processes=16, cpu_seconds=1, trace_mb=1, connections=1
    )
    plan = msgspec.structs.replace(plan, environment={"PYTHONHOME": "/nowhere", "LD_PRELOAD": "/nowhere.so"})
    made = _Made()
    assert _try(made, plan, tmp_path) == selftest.Tested(mode="seccomp-bpf", outcome="passed")
    assert (made.plans[0].limits.memory_mb, made.plans[0].limits.processes) == (2048, 1024)
    assert made.plans[0].files == {}


def _without(call: str, plan: PodPlan, directory: Path, phase: Phase) -> Phase:
    """Lose calls of one kind, as gVisor does: only where the kernel is to stop the traced ones."""
    trace = directory / "traces/self-test.strace"
    if plan.tracer_mode == "seccomp-bpf":
        lines = trace.read_bytes().splitlines(keepends=True)
        trace.write_bytes(b"".join(line for line in lines if call.encode() not in line))
    return phase


@pytest.mark.parametrize("call", ["/fumehood-self-test/thread3/", "unshare(", "connect("])
def test_calls_that_are_lost_make_the_tracer_stop_at_every_call(
    base_image: BaseImage, tmp_path: Path, call: str
) -> None:
    made = _Made(functools.partial(_without, call))
    assert _try(made, make_plan(base_image, tmp_path), tmp_path).mode == "every-call"
    assert [plan.tracer_mode for plan in made.plans] == ["seccomp-bpf", "every-call"]
    assert _kept(tmp_path)[0]["mode"] == "every-call"


def test_calls_that_are_lost_either_way_refuse_the_pod(base_image: BaseImage, tmp_path: Path) -> None:
    def lose(plan: PodPlan, directory: Path, phase: Phase) -> Phase:
        return _without("fork7", msgspec.structs.replace(plan, tracer_mode="seccomp-bpf"), directory, phase)

    with pytest.raises(PodError, match=r"loses calls in this pod \(10 of 125 opens .*\): use another --pod"):
        _try(_Made(lose), make_plan(base_image, tmp_path), tmp_path)
    assert _kept(tmp_path) == []


def _not_whole(_plan: PodPlan, _directory: Path, phase: Phase) -> Phase:
    return msgspec.structs.replace(phase, trace_complete=False)


def _failed(_plan: PodPlan, _directory: Path, phase: Phase) -> Phase:
    return msgspec.structs.replace(phase, status="failed", reason="exit code 1")


def _cut(plan: PodPlan, directory: Path, phase: Phase) -> Phase:
    return _without("fork", plan, directory, _not_whole(plan, directory, phase))


def _short(_plan: PodPlan, _directory: Path, _phase: Phase) -> Phase:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_short, "Resource temporarily unavailable"),
        (_not_whole, "the tracer did not"),
        (_failed, r"its program failed \(exit code 1\)"),
        (_cut, "the tracer did not"),
    ],
)
def test_a_test_that_did_not_complete_changes_nothing_and_is_not_kept(
    base_image: BaseImage, tmp_path: Path, change: Callable[[PodPlan, Path, Phase], Phase], why: str
) -> None:
    made = _Made(change)
    tested = _try(made, make_plan(base_image, tmp_path), tmp_path)
    assert (tested.mode, tested.outcome) == ("seccomp-bpf", "not-completed")
    assert re.search(why, tested.reason), tested.reason
    assert len(made.plans) == 1, "no fall-back"
    assert _kept(tmp_path) == []
    assert _try(_Made(), make_plan(base_image, tmp_path), tmp_path).outcome == "passed", "the next run tries again"


def _gateway_killed(_plan: PodPlan, directory: Path, phase: Phase) -> Phase:
    """End the gateway as a machine without memory would."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"python") and f"{directory}/gateway/config.json".encode() in words:
            os.kill(int(process.name), 9)
    return phase


def test_a_gateway_that_died_is_no_proof_that_nothing_reached_it(base_image: BaseImage, tmp_path: Path) -> None:
    tested = _try(_Made(_gateway_killed), make_plan(base_image, tmp_path), tmp_path)
    assert tested.outcome == "not-completed"
    assert "the gateway did not come to its end" in tested.reason


def _unreached(_plan: PodPlan, directory: Path, phase: Phase) -> Phase:
    """What a runtime with a network of its own leaves: a gateway that nobody spoke to."""
    records = directory / "gateway/gateway.jsonl"
    records.write_bytes(b"")
    return phase


def test_a_network_that_does_not_end_at_the_gateway_refuses_the_pod(base_image: BaseImage, tmp_path: Path) -> None:
    with pytest.raises(
        PodError, match=r"a connection and a DNS question .* did not reach the gateway: .*--network=host"
    ):
        _try(_Made(_unreached), make_plan(base_image, tmp_path), tmp_path)
    assert _kept(tmp_path) == []


def test_a_cache_that_is_broken_or_closed_is_no_error(base_image: BaseImage, tmp_path: Path) -> None:
    plan = make_plan(base_image, tmp_path)
    _try(_Made(), plan, tmp_path)
    (kept,) = (tmp_path / "cache/tracer").iterdir()
    kept.write_bytes(b"{")
    made = _Made()
    assert _try(made, plan, tmp_path).outcome == "passed"
    assert len(made.plans) == 1
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_bytes(b"no directory")
    assert _try(made, plan, tmp_path).outcome == "passed"


def test_an_interruption_ends_the_test_and_not_with_an_error(base_image: BaseImage, tmp_path: Path) -> None:
    stop = threading.Event()
    plan = msgspec.structs.replace(make_plan(base_image, tmp_path), interrupted=stop.is_set)

    class Interrupting(_Made):
        def __call__(self, plan: PodPlan, directory: Path) -> BubblewrapPod:
            stop.set()
            return super().__call__(plan, directory)

    made = Interrupting()
    tested = _try(made, plan, tmp_path)
    assert tested.outcome == "not-completed"
    assert "interrupted" in tested.reason
    assert _kept(tmp_path) == []
    (tmp_path / "another").mkdir()
    pod = choose.choose(choose.Wanted(), plan, tmp_path / "another", tmp_path / "cache", print)
    assert (pod.isolation.pod, pod.isolation.self_test) == ("bubblewrap", "not-completed")


def test_the_fingerprint_of_a_program_changes_with_it(tmp_path: Path) -> None:
    first, link = tmp_path / "tool", tmp_path / "link"
    first.write_bytes(b"#!/bin/sh\n")
    first.chmod(0o755)
    link.symlink_to(first)
    before = fingerprint.program(str(link))
    assert before == fingerprint.program(str(first)), "the program, not the way to it"
    os.utime(first, ns=(1, time.time_ns() + 1))
    assert fingerprint.program(str(link)) != before
    assert fingerprint.program("/nowhere/tool") == "/nowhere/tool"
    assert fingerprint.program("sh").startswith(str(Path("/bin/sh").resolve()))


def test_our_own_code_is_among_what_an_answer_depends_on(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    digests = {fingerprint.digest(files) for files in ((one, other), (other, one), (one,), (one, other, one))}
    assert len(digests) == 4
    other.write_bytes(b"3")
    assert fingerprint.digest((one, other)) not in digests
    assert fingerprint.our_code() == fingerprint.our_code()
