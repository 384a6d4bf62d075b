"""The exerciser in the real root filesystem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from tests.images.pods import SmallPod

pytestmark = pytest.mark.pod

COMMANDS = """
import os, signal, sys

def note():
    with open(os.environ["HOME"] + "/ran", "a") as log:
        log.write(" ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")

def fine():
    note()
    assert sys.stdin.read() == ""
    return 7

def crash():
    note()
    os.kill(os.getpid(), signal.SIGSEGV)

def serve():
    note()
    while not sys.argv[1:]:
        signal.pause()

def stubborn():
    note()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()

def leave():
    note()
    if os.fork() == 0:
        os.setsid()
        while True:
            signal.pause()
"""


def exercised(pod: SmallPod, *functions: str, **limits: float) -> dict[str, object]:
    files = {"tool/__init__.py": COMMANDS, "tool/__main__.py": "import tool\ntool.note()\n"}
    make_wheel(pod.wheels, "sample", files, {name: f"tool:{name}" for name in functions})
    pod.install("sample")
    return pod.drive("exerciser.py", "sample", **limits)


def ran(pod: SmallPod) -> list[str]:
    return (pod.home / "ran").read_text().splitlines()


def test_each_script_runs_three_times_and_exit_codes_do_not_matter(small_pod: SmallPod) -> None:
    report = exercised(small_pod, "fine")
    assert report == {"unit": "script", "planned": 5, "reached": 5, "failed": [], "timed_out": [], "unreached": []}
    assert ran(small_pod) == ["fine --help", "fine --version", "fine", "__main__.py --help", "__main__.py"]


def test_a_server_that_is_ended_is_no_gap(small_pod: SmallPod) -> None:
    report = exercised(small_pod, "serve", each=1)
    assert (report["reached"], report["timed_out"]) == (5, [])
    assert "serve" in ran(small_pod)


def test_help_that_will_not_end_is_a_gap(small_pod: SmallPod) -> None:
    report = exercised(small_pod, "stubborn", each=1)
    assert report["timed_out"] == ["stubborn --help", "stubborn --version"]
    assert report["reached"] == 3


def test_a_crash_is_told(small_pod: SmallPod) -> None:
    assert exercised(small_pod, "crash")["failed"] == ["crash --help", "crash --version", "crash"]


def test_processes_left_behind_do_not_hold_it_up(small_pod: SmallPod) -> None:
    assert exercised(small_pod, "leave")["reached"] == 5


def test_what_the_budget_does_not_reach_is_said(small_pod: SmallPod) -> None:
    report = exercised(small_pod, "stubborn", "zeal", each=1, budget=1)
    assert "zeal" in report["unreached"]  # type: ignore[operator]
