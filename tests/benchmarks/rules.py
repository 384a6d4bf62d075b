"""What an event costs as rules grow: 50, 500 and 3,000 generated rules, tried one by one and by the index.

    .venv/bin/python -m tests.benchmarks.rules

Prints nanoseconds per event, the best of three rounds. The events are those of a typical run in kind and proportion
(most are files of the interpreter that no rule wants), with one in a hundred that some rule does.
"""

from __future__ import annotations

import gc
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sigma.rule import SigmaRule

from collector.processes import ProcessTable
from collector.sigma.evaluate import compile_trees, condition_trees
from collector.sigma.fields import category_named
from collector.sigma.index import RuleIndex
from collector.sigma.view import Context
from collector.text import parse
from tests.collector.sigma.sigmas import tried_one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.events import AnyEvent
    from collector.sigma.rule import Selection

EVENTS = 20_000
SIZES = (50, 500, 3_000)


class Timed(NamedTuple):
    """How long evaluating took."""

    ns: float
    """Nanoseconds of processor time per event."""
    matches: int


def word(chance: random.Random, length: int = 8) -> str:
    """Some letters."""
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=length))


def rule(chance: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """A rule of one of the usual shapes: category and detection."""
    exclusion = {"filter": {"Actor": "installer"}}
    match number % 6:
        case 0:
            kept = {"TargetFilename|endswith": [f"/{word(chance)}", f".{word(chance, 5)}"], "Errno": ""}
            return "file_access", {"sel": kept, **exclusion, "condition": "sel and not filter"}
        case 1:
            kept = {"HomePath|startswith": [f"~/.{word(chance)}/" for _ in range(5)], "Phase": ["install", "import"]}
            return "file_access", {"sel": kept, **exclusion, "condition": "sel and not filter"}
        case 2:
            kept = {"TargetFilename|contains": [f"/{word(chance)}/" for _ in range(3)]}
            return "file_event", {"sel": kept, **exclusion, "condition": "sel and not filter"}
        case 3:
            kept = {"Image|endswith": f"/{word(chance)}", "CommandLine|contains|all": [word(chance), " -c "]}
            return "process_creation", {"sel": kept, "condition": "sel"}
        case 4:
            kept = {"DestinationHostname|endswith": f".{word(chance)}.test", "HostRole": ""}
            return "network_connection", {"sel": kept, **exclusion, "condition": "sel and not filter"}
        case _:
            kept = {"TargetFilename": f"/*/{word(chance)}/*.{word(chance, 3)}", "Errno": ""}
            return "fumehood", {"sel": kept, **exclusion, "condition": "sel and not filter"}


def compiled(category: str, detection: dict[str, Any]) -> Selection:
    """A detection as the engine runs it."""
    found = category_named(category)
    if found is None:
        raise SystemExit(f"there is no category {category}")
    raw = {"title": "generated", "logsource": {"category": category}, "detection": detection}
    return compile_trees(condition_trees(SigmaRule.from_dict(raw)), found.kinds)


def happened(chance: random.Random, wanted: list[str]) -> list[AnyEvent]:
    """Events in the proportions of a run; one in a hundred reads what some rule looks for."""
    libraries = [f"/usr/lib/python3/{word(chance)}/{word(chance)}.py" for _ in range(2_000)]
    made: list[AnyEvent] = []
    for number in range(EVENTS):
        path = chance.choice(wanted) if number % 100 == 0 else chance.choice(libraries)
        line = {
            97: f"import target 4 file.write path={path}",
            98: f"import target 4 network.connect ip=192.0.2.1 port=443 host={word(chance)}.test",
            99: f'import target 4 process.exec image=/usr/bin/{word(chance)} argv=["sh","-c","{word(chance)}"]',
        }.get(number % 100, f"import target 4 file.read path={path}")
        made.append(msgspec.structs.replace(parse(line), ts=float(number)))
    return made


def best(evaluate: Callable[[Sequence[AnyEvent], Context], list[list[int]]], events: list[AnyEvent]) -> Timed:
    """The best of three rounds."""
    context, times, found = Context("/home/dev", "dev", ProcessTable()), [], 0
    for _ in range(3):
        gc.collect()
        began = time.process_time()
        hits = evaluate(events, context)
        times.append(time.process_time() - began)
        found = sum(map(len, hits))
    return Timed(min(times) / len(events) * 1e9, found)


def main() -> None:
    """Print the table."""
    print("| rules | matches | ns/event, one by one | ns/event, indexed | index made in |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        chance = random.Random(size)  # noqa: S311 - the same rules each time
        shapes = [rule(chance, number) for number in range(size)]
        selections = [compiled(category, detection) for category, detection in shapes]
        wanted = [f"/x/y{ending}" for _, it in shapes[::6] for ending in it["sel"]["TargetFilename|endswith"]]
        events = happened(chance, wanted)
        plain, found = best(lambda events, where, all_=selections: tried_one_by_one(all_, events, where), events)
        began = time.process_time()
        index = RuleIndex(selections)
        index.evaluate(events[:1], Context("/home/dev", "dev", ProcessTable()))
        made = time.process_time() - began
        indexed, same = best(index.evaluate, events)
        if found != same:
            raise SystemExit(f"the index finds {same} matches, trying each finds {found}")
        print(f"| {size:,} | {found:,} | {plain:,.0f} | {indexed:,.0f} | {made * 1000:.0f} ms |")


if __name__ == "__main__":
    main()
