"""Runs fumehood many times in a row, and kills some of the runs at random moments."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector.bundle import Bundle
from collector.errors import BundleError
from sandbox.settings import Settings
from tests.images.pods import make_wheel
from tests.sandbox.registry.index_server import digest
from tests.soak import inventory

if TYPE_CHECKING:
    from tests.sandbox.registry.index_server import IndexServer

_DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.5)
    os._exit(0)
os.wait()
"""
_PACKAGES = {"quiet": "VALUE = 1\n", "daemon": _DAEMON}
"""By name: what its module does. One leaves a process behind that outlives its phase."""
_COLD = ("registry", "tracer")
"""Parts of the cache of which one is now and then removed before a run, so that the kills hit its making too."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    runs: int
    kills: int
    pod: str
    runtime: str
    seed: int


class Outcome(msgspec.Struct, kw_only=True):
    """What happened."""

    ordinary: int = 0
    killed: int = 0
    ordinary_seconds: list[float] = msgspec.field(default_factory=list)
    last_words: Counter[str] = msgspec.field(default_factory=Counter)
    """What the killed ones had said last: where the kills struck."""
    wrong: list[str] = msgspec.field(default_factory=list)
    """Ordinary runs that did not end as the same package did before."""
    pids: set[int] = msgspec.field(default_factory=set)
    containers: set[str] = msgspec.field(default_factory=set)


class Storm:
    """The runs of one plan, in directories of their own."""

    def __init__(self, plan: Plan, work: Path, index: IndexServer) -> None:
        self.outcome = Outcome()
        self.plan = plan
        self._work = work
        self._random = random.Random(plan.seed)  # noqa: S311 - to be had again
        self._expected: dict[str, tuple[int, str]] = {}
        cache = Settings.from_environment(os.environ).cache
        for name in ("tmp", "home", "cache", "bundles", "wheels"):
            (work / name).mkdir()
        (work / "cache/images").symlink_to(cache / "images")
        for name, body in _PACKAGES.items():
            wheel = make_wheel(work / "wheels", name, {f"{name}.py": body}).read_bytes()
            path = f"/files/{name}-1.0-py3-none-any.whl"
            index.pages[path] = ("application/octet-stream", wheel)
            index.add_project(name, {f"{index.base}{path}": digest(wheel)})
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_"))},
            "HOME": str(work / "home"),
            "TMPDIR": str(work / "tmp"),
            "FUMEHOOD_CACHE": str(work / "cache"),
            "FUMEHOOD_BUNDLES": str(work / "bundles"),
            "PIP_INDEX_URL": f"{index.base}/simple",
            "NO_PROXY": "*",
        }

    def warm(self) -> None:
        """Run each package once, so that caches and images are there, and its proper end is known."""
        for name in _PACKAGES:
            code, verdict, _ = self._run(name, None)
            self._expected[name] = (code, verdict)
            if code not in {0, 1, 3}:
                raise SystemExit(f"{name} cannot be run here: exit code {code}, {self._last_line()}")

    def blow(self) -> None:
        """All runs; as many more as it takes until enough of them were killed before their end."""
        plan, outcome = self.plan, self.outcome
        while outcome.ordinary + outcome.killed < plan.runs or outcome.killed < plan.kills:
            left = plan.runs - outcome.ordinary - outcome.killed
            kill = self._random.random() * max(left, 1) < plan.kills - outcome.killed
            if self._random.random() < 0.2:
                shutil.rmtree(self._work / "cache" / self._random.choice(_COLD), ignore_errors=True)
            self.one(kill=kill)

    def one(self, *, kill: bool) -> None:
        """One run."""
        name = self._random.choice(list(_PACKAGES))
        whole = max(self.outcome.ordinary_seconds, default=1.0)
        moment = self._random.uniform(0, whole) if kill else None
        code, verdict, seconds = self._run(name, moment)
        if code < 0:
            self.outcome.killed += 1
            self.outcome.last_words[self._last_line()] += 1
            return
        self.outcome.ordinary += 1
        self.outcome.ordinary_seconds = [*self.outcome.ordinary_seconds[-8:], seconds]
        if (code, verdict) != self._expected[name]:
            said = f"{name}: exit code {code}, {verdict or 'no verdict'}, not {self._expected[name]}"
            self.outcome.wrong.append(f"{said}; {self._last_line()}")

    def check_bundles(self) -> None:
        """Whatever a run left under a bundle's name must be a whole one."""
        for directory in sorted((self._work / "bundles").iterdir()):
            if directory.is_dir() and not directory.name.endswith(".partial"):
                try:
                    Bundle.open(directory)
                except BundleError as error:
                    self.outcome.wrong.append(f"{directory.name}: {error}")

    def _run(self, name: str, moment: float | None) -> tuple[int, str, float]:
        """Exit code (negative: killed), verdict, seconds."""
        plan = self.plan
        runtime = ["--runtime", plan.runtime] if plan.runtime else []
        command = [str(Path(sys.executable).with_name("fumehood")), "run", "--pod", plan.pod, *runtime]
        started, began = time.monotonic(), time.time()
        with (self._work / "out").open("wb") as out, (self._work / "err").open("wb") as err:
            process = subprocess.Popen(
                [*command, "--format", "json", f"pkg:pypi/{name}"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment,
                cwd=self._work,
            )
            self.outcome.pids.add(process.pid)
            try:
                code = process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()  # it alone; its children are whatever it has made of them
                code = process.wait()
        seconds = time.monotonic() - started
        bury()
        if plan.pod == "docker":
            self.outcome.containers |= inventory.containers_made(began, frozenset({process.pid}))
        verdict = ""
        if code >= 0:
            with contextlib.suppress(ValueError):
                verdict = str(json.loads((self._work / "out").read_bytes())["verdict"])
        return code, verdict, seconds

    def _last_line(self) -> str:
        lines = (self._work / "err").read_text(errors="backslashreplace").strip().splitlines()
        return lines[-1] if lines else "(nothing yet)"


def bury() -> None:
    """Collect the orphans that have ended; as their subreaper it falls to us."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
