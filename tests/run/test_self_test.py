"""Ctrl-C and `kill -9` while the tracer is tested: the run ends as any other, and the next one tidies up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.settings import Settings
    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod


def _cache_without_an_answer(settings: Settings, place: Path) -> Path:
    cache = place / "cache"
    cache.mkdir()
    (cache / "images").symlink_to(settings.cache / "images")
    return cache


_LONG = """
import sys
from sandbox.pod import known_program
known_program.ARGV = (*known_program.ARGV[:-1], known_program.PROGRAM + "\\nimport time; time.sleep(1000)")
from sandbox.entry import main
main()
"""
"""fumehood whose self-test lasts until it is ended, so that whoever ends it is never too late."""


@contextlib.contextmanager
def _while_it_is_tested(fumehood: Fumehood, settings: Settings, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that is in its self-test: its cache has images, and no answer yet."""
    cache = _cache_without_an_answer(settings, place)
    wheel = make_wheel(place, "thing", {"thing.py": ""})
    command = [sys.executable, "-c", _LONG, "run", "--format=json", wheel]
    own = {"FUMEHOOD_BUNDLES": str(fumehood.bundles), "FUMEHOOD_CACHE": str(cache), "FUMEHOOD_POD": "bubblewrap"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **own}
    ) as worker:
        while not list(fumehood.bundles.glob("*.partial/self-test-*/traces/self-test.strace")):
            assert worker.poll() is None, worker.communicate()
            time.sleep(0.005)
        yield worker


def test_ctrl_c_ends_the_run_as_at_any_other_time(fumehood: Fumehood, settings: Settings, tmp_path: Path) -> None:
    with _while_it_is_tested(fumehood, settings, tmp_path) as worker:
        worker.send_signal(signal.SIGINT)
        out, err = worker.communicate()
    assert worker.returncode == 3, err
    assert "fumehood:" not in err
    report = json.loads(out)
    assert report["manifest"]["interrupted"]
    assert report["verdict"] == "inconclusive"
    assert report["reasons"][0] == "the run was interrupted before its end"
    assert {phase["status"] for phase in report["phases"]} == {"not-run"}
    assert list(fumehood.bundles.glob("*.partial")) == []


def test_what_a_killed_self_test_leaves_is_removed_by_the_next_run(
    fumehood: Fumehood, settings: Settings, tmp_path: Path
) -> None:
    with _while_it_is_tested(fumehood, settings, tmp_path) as worker:
        processes = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()
    assert len(processes) > 1
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == [], "they die with their worker"
    (left,) = fumehood.bundles.glob("*.partial")
    assert [path.name.partition("-test-")[0] for path in left.iterdir() if path.name.startswith("self-")] == ["self"]
    ran = fumehood.run(make_wheel(tmp_path, "other", {"other.py": ""}))
    assert ran.code == 0, ran.err
    assert ran.report["manifest"]["isolation"]["self_test"] == "passed"
    assert list(fumehood.bundles.glob("*.partial")) == []


_BUSY = """
from sandbox.entry import main
from sandbox.pod import selftest
selftest._SECONDS = 0
main()
"""
"""fumehood on a machine that is too busy for the self-test."""


def test_a_run_whose_tracer_was_not_proven_goes_on_and_is_not_clean(settings: Settings, tmp_path: Path) -> None:
    cache = _cache_without_an_answer(settings, tmp_path)
    own = {"FUMEHOOD_BUNDLES": str(tmp_path / "bundles"), "FUMEHOOD_CACHE": str(cache), "FUMEHOOD_POD": "bubblewrap"}
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    ran = subprocess.run(
        [sys.executable, "-c", _BUSY, "run", "--format=json", wheel],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **own},
    )
    assert ran.returncode == 3, ran.stderr
    assert "not proven to see everything, so that this run is not called clean" in ran.stderr
    report = json.loads(ran.stdout)
    isolation = report["manifest"]["isolation"]
    assert (isolation["self_test"], isolation["tracer_mode"]) == ("not-completed", "seccomp-bpf")
    assert report["verdict"] == "inconclusive"
    assert report["reasons"] == ["the tracer is not known to see everything here: its self-test could not be completed"]
    assert {phase["status"] for phase in report["phases"]} == {"completed"}
    assert not (cache / "tracer").exists()
