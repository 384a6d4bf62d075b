"""Many runs in a row, some of them killed: does anything stay behind?

    .venv/bin/python -m tests.soak --runs 200 --kills 50 --pod bubblewrap
    .venv/bin/python -m tests.soak --runs 40 --kills 10 --pod docker --runtime runsc

`kill -9` strikes fumehood's own process at random moments, seeded; its children are left to what was made of them. Then
comes one ordinary run, which cleans up, and after it nothing may be there that was not before: no process, mount,
namespace, control group, container, image, layer, volume, network or file. Exit code 1 when something is, or when an
ordinary run did not end as it should.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sandbox.registry.index_server import running
from tests.soak import inventory
from tests.soak.storm import Plan, Storm, bury

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Do it, and say what is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50, help="how many of them are killed")
    parser.add_argument("--pod", choices=("bubblewrap", "docker"), default="bubblewrap")
    parser.add_argument("--runtime", default="", help="for docker: runc, runsc, ...")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--patience", type=float, default=60, help="seconds that something must stay to be left over")
    arguments = parser.parse_args()
    plan = Plan(**{name: getattr(arguments, name) for name in Plan.__struct_fields__})
    # Whoever loses its parent becomes our child, and is seen.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise SystemExit("this kernel has no subreapers")
    # Not below /tmp by chance of TMPDIR alone: the Docker engine must see it under the same name.
    with tempfile.TemporaryDirectory(prefix="soak-") as directory, running() as index:
        work = Path(directory).resolve()
        storm = Storm(plan, work, index)
        return _report(storm, list(_left(storm, work, arguments.patience)), plan)


def _left(storm: Storm, work: Path, patience: float) -> Iterator[str]:
    storm.warm()

    def machine() -> frozenset[str]:
        return inventory.machine(with_engine=storm.plan.pod == "docker")

    before, files = machine(), inventory.files(work)
    storm.blow()
    if storm.plan.pod == "docker" and not storm.outcome.containers:
        raise SystemExit("the engine told of no container that was made")
    storm.one(kill=False)
    storm.check_bundles()

    def alive() -> frozenset[str]:
        bury()
        containers = frozenset(storm.outcome.containers)
        return inventory.processes(work, containers) | inventory.of_containers(containers)

    yield from inventory.lasting(alive, frozenset(), patience)
    yield from inventory.lasting(lambda: inventory.files(work), files, 0)
    yield from inventory.lasting(machine, before, patience)


def _report(storm: Storm, left: list[str], plan: Plan) -> int:
    outcome = storm.outcome
    name = f"{plan.pod} {plan.runtime}".strip()
    print(f"{name}: {outcome.ordinary} ordinary runs, {outcome.killed} killed, seed {plan.seed}")
    for words, count in outcome.last_words.most_common():
        print(f"  {count:4} killed after: {words}")
    for text in outcome.wrong:
        print(f"  WRONG {text}")
    for text in sorted(left):
        print(f"  LEFT {text} {inventory.holder(text)}".rstrip())
    print(f"  {len(left)} things left, {len(outcome.wrong)} ordinary runs ended wrong")
    return 1 if left or outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
