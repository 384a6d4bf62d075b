"""From what a pod saw to a phase's status and reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from collector.manifest import LimitHit, Phase
from sandbox.pod import outcome
from sandbox.pod.interface import PhaseCommand
from sandbox.profile import PhaseBudget, load_profile

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = load_profile("pypi").limits
CPU = outcome.hit(outcome.CPU, LIMITS, 901)


def judged(directory: Path, ended: str, code: int | None, *hits: LimitHit) -> Phase:
    record = Phase(name="install", status="completed", exit_code=code)
    command = PhaseCommand(name="install", argv=("/bin/true",), budget=PhaseBudget(seconds=5))
    return outcome.judged(record, ended, command, SimpleNamespace(started_inside=True), directory / "stderr", hits=hits)


@pytest.mark.parametrize("code", [128 + 9, 128 + 24], ids=["sigkill", "sigxcpu"])
def test_a_command_that_the_kernel_ended_for_its_processor_time(tmp_path: Path, code: int) -> None:
    phase = judged(tmp_path, "", code, CPU)
    assert (phase.status, phase.reason) == ("killed", "ended at a limit: processor time 901 s of at most 900 s")
    assert [hit.ended for hit in phase.limits] == [True]


def test_one_that_was_killed_otherwise_failed(tmp_path: Path) -> None:
    left = outcome.hit(outcome.CPU, LIMITS, 901, "left by install")
    for hits in ((), (left,)):
        phase = judged(tmp_path, "", 137, *hits)
        assert (phase.status, phase.reason, phase.limits) == ("failed", "exit code 137", hits)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (outcome.CPU, "killed"),
        (outcome.MEMORY, "oom"),
        (outcome.PROCESSES, "killed"),
        (outcome.TRACE, "killed"),
        (outcome.EVIDENCE_DISK, "killed"),
    ],
)
def test_a_phase_that_was_ended_for_a_limit(tmp_path: Path, name: str, status: str) -> None:
    beside = outcome.hit(outcome.DISK, LIMITS, 1)
    phase = judged(tmp_path, name, None, beside, outcome.hit(name, LIMITS, 1 << 50))
    assert phase.status == status
    assert phase.reason.startswith("ended at a limit: ")
    assert [(hit.name, hit.ended) for hit in phase.limits] == [("disk", False), (name, True)]


def test_what_is_no_limit(tmp_path: Path) -> None:
    assert judged(tmp_path, outcome.TIMED_OUT, None).reason == "not finished after 5 s"
    assert judged(tmp_path, outcome.INTERRUPTED, None).reason == outcome.INTERRUPTED_REASON
    assert judged(tmp_path, outcome.POD, None).limits == ()
    with pytest.raises(ValueError, match="timed-out is not a limit"):
        outcome.hit(outcome.TIMED_OUT, LIMITS, 1)
