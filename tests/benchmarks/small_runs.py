"""What explaining a small run costs, and how much of that a process does only once.

    .venv/bin/python -m tests.benchmarks.small_runs [--times N] BUNDLE...

Milliseconds of processor time, the least of several processes: to import, to load the rules, to prepare them
(`RuleSet.prepare`); and to explain each bundle in a process that is forked from there, as the service does, with the
rules prepared and without. Beside it the wall time of the run's phases. Not a test: nothing is asserted about speed.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.sigma.rule import RuleSet

_RULES: Final = Path(__file__).parents[2] / "profiles" / "rules"


class Measured(msgspec.Struct, frozen=True):
    """What one process needed, in milliseconds of processor time."""

    imported: float
    loaded: float
    prepared: float
    explained: float
    unprepared: float


class Run(msgspec.Struct, frozen=True):
    """What is known of a run without explaining it."""

    lines: int
    seconds: float
    """Wall time of its phases."""


def _spent(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e3


def _forked(work: Callable[[], object]) -> float:
    """Do something in a process of its own, which knows all that this one has done."""
    told, tells = os.pipe()
    if (child := os.fork()) == 0:
        os.write(tells, msgspec.json.encode(_spent(work)))
        os._exit(0)
    os.close(tells)
    with os.fdopen(told, "rb") as answer:
        spent = msgspec.json.decode(answer.read(), type=float)
    os.waitpid(child, 0)
    return spent


def _import() -> None:
    import collector.analyse  # noqa: PLC0415 - it is what is measured
    import collector.sigma.load  # noqa: F401, PLC0415 - likewise


def _work(path: Path) -> None:
    """Measure once and print it."""
    imported = _spent(_import)
    from collector.analyse import analyse  # noqa: PLC0415 - not before it is measured
    from collector.bundle import Bundle  # noqa: PLC0415 - likewise
    from collector.report import to_json  # noqa: PLC0415 - likewise
    from collector.sigma.load import load_rules  # noqa: PLC0415 - likewise

    rules: list[RuleSet] = []
    loaded = _spent(lambda: rules.append(load_rules(_RULES)))

    def explain() -> None:
        to_json(analyse(Bundle.open(path), rules[0]))

    gc.freeze()
    unprepared = _forked(explain)
    prepared = _spent(rules[0].prepare)
    gc.freeze()
    measured = Measured(imported, loaded, prepared, _forked(explain), unprepared)
    sys.stdout.buffer.write(msgspec.json.encode(measured))


def _measure(path: Path, times: int) -> Measured:
    command = [sys.executable, "-m", "tests.benchmarks.small_runs", "--worker", str(path)]
    found = [
        msgspec.json.decode(subprocess.run(command, check=True, capture_output=True).stdout, type=Measured)
        for _ in range(times)
    ]
    return Measured(*(min(getattr(one, name) for one in found) for name in Measured.__struct_fields__))


def _run(path: Path) -> Run:
    from collector.bundle import Bundle  # noqa: PLC0415 - see `_import`

    bundle = Bundle.open(path)
    phases = bundle.manifest.phases
    lines = sum(sum(1 for _ in bundle.lines(phase.trace)) for phase in phases if phase.trace)
    return Run(lines, sum(max(phase.ended - phase.started, 0.0) for phase in phases))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE", help="a bundle that was recorded before")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _work(arguments.worker)
        return
    print("| bundle | lines | import | rules | prepare | explanation | with rules not prepared | phases | share |")
    print(f"|{'---|' * 9}")
    for path in arguments.bundles:
        one, run = _measure(path, arguments.times), _run(path)
        print(
            f"| {path.name.rsplit('-', 1)[0]} | {run.lines:,} | {one.imported:.0f} | {one.loaded:.0f} "
            f"| {one.prepared:.0f} | {one.explained:.0f} | {one.unprepared:.0f} | {run.seconds:.1f} s "
            f"| {one.explained / run.seconds / 10:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
