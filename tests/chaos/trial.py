"""One trial: servers, hosts and a storm; then everything is counted."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select

from collector.store.schema import RUNS
from sandbox.database.schema import ATTEMPTS, SUBMISSIONS
from sandbox.evidence import open_evidence
from sandbox.submissions.model import FINAL
from tests.chaos.hosts import Site
from tests.chaos.strikes import Storm
from tests.chaos.submitting import Submitter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import RowMapping

_LOOK_S = 0.5
_PER_SUBMISSION_S = 20
_AT_LEAST_S = 240


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How large a trial is."""

    submissions: int
    hosts: int = 2
    slots: int = 2
    every: float = 4.0
    """Seconds between two strikes."""
    strikes: int = 0
    """How many there are at most; 0 for as many as there is time for."""
    seed: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    seed: int
    seconds: float
    states: dict[str, int]
    attempts: dict[str, int]
    strikes: dict[str, int]
    faults: tuple[str, ...]
    """What must not be."""

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"seed {self.seed}, {self.seconds:.0f} s",
            f"strikes: {_counted(self.strikes)}",
            *(["no disk was filled: that needs root"] if "disk for evidence filled" not in self.strikes else []),
            f"submissions: {_counted(self.states)}",
            f"attempts: {_counted(self.attempts)}",
            *(f"FAULT: {fault}" for fault in self.faults),
            "nothing was lost, nothing counts twice, nothing is left" if not self.faults else "",
        ]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


class Trial:
    """Servers and hosts of its own, below one directory."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan = plan
        self._site = Site(directory, plan.hosts, plan.slots, plan.submissions)

    def run(self, tell: Callable[[str], None]) -> Outcome:
        """Submit everything while the storm blows, wait for the end, and count."""
        began = time.monotonic()
        site, plan = self._site, self._plan
        site.start()
        storm = Storm(site, random.Random(plan.seed), plan.every, plan.strikes, tell)  # noqa: S311 - to be repeated
        submitter = Submitter(site, plan.submissions)
        with ThreadPoolExecutor(1) as pool:
            submitting = pool.submit(submitter.submit_all)
            until = time.monotonic() + max(_AT_LEAST_S, _PER_SUBMISSION_S * plan.submissions)
            told = 0.0
            while not (submitting.done() and self._all_ended(plan.submissions)):
                if time.monotonic() > until:
                    submitter.give_up.set()
                    break
                if submitting.done():
                    submitting.result()
                # Servers are started from the main thread, with which the kernel ends them.
                storm.blow(calm=submitting.done() and self._ended() >= 0.9 * plan.submissions)
                if time.monotonic() - told > 15:
                    told = time.monotonic()
                    tell(f"{self._ended()} of {plan.submissions} ended")
                time.sleep(_LOOK_S)
            submitting.result()
        site.stop_workers()
        return self._count(time.monotonic() - began, storm, submitter.accepted)

    def close(self) -> None:
        """End every process and server of the trial."""
        self._site.close()

    def _ended(self) -> int:
        return sum(count for state, count in self._site.states().items() if state in FINAL)

    def _all_ended(self, expected: int) -> bool:
        return self._ended() == expected

    def _count(self, seconds: float, storm: Storm, accepted: set[str]) -> Outcome:
        with self._site.engine.connect() as connection:
            rows = connection.execute(select(SUBMISSIONS)).mappings().all()
            attempts = connection.execute(select(ATTEMPTS)).mappings().all()
            runs = set(connection.execute(select(RUNS.c.run)).scalars())
        return Outcome(
            seed=self._plan.seed,
            seconds=seconds,
            states=dict(Counter(row["state"] for row in rows)),
            attempts=dict(Counter(row["outcome"] for row in attempts)),
            strikes=dict(storm.struck),
            faults=tuple(self._faults(rows, attempts, runs, accepted)),
        )

    def _faults(
        self, rows: Sequence[RowMapping], attempts: Sequence[RowMapping], runs: set[str], accepted: set[str]
    ) -> list[str]:
        faults = []
        known = {row["id"] for row in rows}
        if lost := accepted - known:
            faults.append(f"{len(lost)} submissions were accepted and are not there")
        if len(rows) != self._plan.submissions:
            faults.append(f"{len(rows)} submissions are there instead of {self._plan.submissions}")
        faults += [f"{row['id']} is still {row['state']}: {row['reason']}" for row in rows if row["state"] not in FINAL]
        faults += [f"{row['id']} is {row['state']}: {row['reason']}" for row in rows if row["state"] == "dead"]
        succeeded = Counter(row["submission"] for row in attempts if row["outcome"] == "done")
        faults += [f"{name} has {count} results" for name, count in succeeded.items() if count > 1]
        faults += [
            f"attempt {row['attempt']} of {row['submission']} never ended" for row in attempts if row["ended"] is None
        ]
        results = [row for row in rows if row["state"] == "done"]
        faults += [f"{row['id']} is done without an attempt that is" for row in results if row["id"] not in succeeded]
        shared = Counter(row["run"] for row in results)
        faults += [f"run {run} counts for {count} submissions" for run, count in shared.items() if count > 1]
        evidence = open_evidence(self._site.evidence)
        for row in results:
            if row["run"] not in runs:
                faults.append(f"{row['id']} is done without rows of its run")
            with evidence.open(row["run"]) as bundle:
                if bundle.manifest.run != row["run"]:
                    faults.append(f"the evidence of {row['id']} is of another run")
        faults += [f"left behind: {what}" for what in self._site.left()]
        return faults
