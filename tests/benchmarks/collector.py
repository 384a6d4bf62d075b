"""What explaining a bundle costs, by stage and by size, on one core.

    .venv/bin/python -m tests.benchmarks.collector [--lines 10000 100000 1000000] [--times N] [--bundle DIRECTORY]

Prints the tables of docs/performance.md. Without `--bundle` it records one first, by running a package in the embedded
pod (`--package`, which needs the package index). Every figure is the processor time of a process of its own, the least
of several: other work on the machine disturbs it less than a clock on the wall. Stages are cumulative, so each costs
the difference to the one before. Not a test: nothing is asserted about speed.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from collector import timeline
from collector.analyse import analyse
from collector.bundle import Bundle
from collector.live_processes import ProcessTableBuilder
from collector.report import to_json
from collector.sigma.load import load_rules
from collector.syscalls import read_trace
from tests.benchmarks.bundles import distinct, scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from collector.sigma.rule import RuleSet

_RULES: Final = Path(__file__).parents[2] / "profiles" / "rules"


class Measured(msgspec.Struct, frozen=True):
    """What one process needed."""

    cpu: float
    """Seconds of processor time."""
    rss: int
    """Most resident memory in MiB."""


def _lines(bundle: Bundle) -> None:
    _exhaust(line for trace in _traces(bundle) for line in bundle.lines(trace))


def _events(bundle: Bundle) -> None:
    table = ProcessTableBuilder()
    for phase in bundle.manifest.phases:
        if phase.trace:
            read_trace(phase, phase.trace, bundle.lines(phase.trace), table)


def _timeline(bundle: Bundle) -> None:
    timeline.build(bundle)


def _report(bundle: Bundle) -> None:
    # The rules are loaded once for many bundles; `_table` takes their time off.
    to_json(analyse(bundle, _prepared()))


def _rules(_: Bundle) -> None:
    _prepared()


def _prepared() -> RuleSet:
    """The rules as `fumehood run` and a worker's slot have them when a run ends."""
    rules = load_rules(_RULES).prepare()
    gc.freeze()
    return rules


_STAGES: Final[dict[str, Callable[[Bundle], None]]] = {
    "open": lambda _: None,
    "rules": _rules,
    "lines": _lines,
    "events": _events,
    "timeline": _timeline,
    "report": _report,
}
_COLUMNS: Final = {
    "decompress, split": ("open", "lines"),
    "read": ("lines", "events"),
    "join, order, attribute": ("events", "timeline"),
    "rules, verdict, report": ("timeline", "report"),
}


def _traces(bundle: Bundle) -> list[str]:
    return [phase.trace for phase in bundle.manifest.phases if phase.trace]


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _work(stage: str, path: Path) -> None:
    """Do a stage in this process and print what it took."""
    bundle = Bundle.open(path)
    started = time.process_time()
    _STAGES[stage](bundle)
    spent = time.process_time() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.buffer.write(msgspec.json.encode(Measured(spent, most)))


def _measure(stage: str, path: Path, times: int) -> Measured:
    command = [sys.executable, "-m", "tests.benchmarks.collector", "--worker", stage, str(path)]
    found = [
        msgspec.json.decode(subprocess.run(command, check=True, capture_output=True).stdout, type=Measured)
        for _ in range(times)
    ]
    return Measured(min(one.cpu for one in found), max(one.rss for one in found))


def _record(package: str, place: Path) -> tuple[Path, float]:
    """Run a package and give its bundle, and the seconds that the command took."""
    command = [str(Path(sys.executable).with_name("fumehood")), "run", "--quiet", "--pod=bubblewrap", "--fail-on=never"]
    started = time.monotonic()
    subprocess.run(
        [*command, package], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "FUMEHOOD_BUNDLES": str(place)}
    )
    elapsed = time.monotonic() - started
    [path] = [path.parent for path in place.glob("*/manifest.json")]
    return path, elapsed


def _table(sizes: Iterable[int], recorded: Path, times: int) -> None:
    rules = _measure("rules", recorded, times).cpu
    print(f"The rules are loaded once, in {rules:.2f} s. Microseconds of processor time a line, by stage:\n")
    print(f"| lines | unlike | {' | '.join(_COLUMNS)} | in all | lines/s | peak memory |")
    print(f"|{'---|' * (len(_COLUMNS) + 5)}")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            place = Path(folder, str(size))
            lines = scale(recorded, size, place)
            found = {stage: _measure(stage, place, times) for stage in _STAGES if stage != "rules"}
            cpu = {stage: one.cpu - (rules if stage == "report" else 0) for stage, one in found.items()}
            cells = [f"{(cpu[last] - cpu[first]) / lines * 1e6:.2f}" for first, last in _COLUMNS.values()]
            whole = cpu["report"]
            cells += [f"{whole / lines * 1e6:.2f}", f"{lines / whole:,.0f}", f"{found['report'].rss:,} MiB"]
            print(f"| {lines:,} | {distinct(place):.0%} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--package", default="pkg:pypi/requests", help="what to record without --bundle")
    parser.add_argument("--bundle", type=Path, help="a bundle that was recorded before")
    parser.add_argument("--worker", nargs=2, metavar=("STAGE", "BUNDLE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _work(arguments.worker[0], Path(arguments.worker[1]))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}\n")
    with tempfile.TemporaryDirectory() as bundles:
        recorded, elapsed = (arguments.bundle, 0.0) if arguments.bundle else _record(arguments.package, Path(bundles))
        if elapsed:
            spent = _measure("report", recorded, arguments.times).cpu - _measure("rules", recorded, arguments.times).cpu
            print(f"{arguments.package}: the run took {elapsed:.1f} s, its explanation {spent:.2f} s of processor time")
            print(f"({spent / elapsed:.1%}). {distinct(recorded):.0%} of its lines are unlike all others.\n")
        _table(arguments.lines, recorded, arguments.times)


if __name__ == "__main__":
    main()
