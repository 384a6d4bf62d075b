"""Many submissions while everything around them is killed: is any lost, or run twice?

    make chaos
    .venv/bin/python -m tests.chaos --submissions 1000 --seed 7

Exit code 1 when a submission has not exactly one end, a result is there twice or without its evidence, or when a pod is
left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.trial import Plan, Trial


def main() -> int:
    """Do it, and print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--submissions", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=2, help="workers, each with slots of its own")
    parser.add_argument("--slots", type=int, default=2, help="of each host")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two strikes")
    parser.add_argument("--strikes", type=int, default=0, help="how many at most; 0 for as many as there is time for")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args()
    plan = Plan(**{name: getattr(arguments, name) for name in Plan.__struct_fields__})
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        trial = Trial(plan, Path(directory).resolve())
        try:
            outcome = trial.run(lambda line: print(line, flush=True))
        finally:
            trial.close()
    for line in outcome.lines():
        print(line)
    return 1 if outcome.faults else 0


sys.exit(main())
