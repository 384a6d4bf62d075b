"""What the service's database costs, by how many runs there are.

    .venv/bin/python -m tests.benchmarks.store [--runs 1000 10000 100000] [--times N]

Prints a table of docs/performance.md for SQLite and for PostgreSQL, which it starts itself as the tests do (on this
machine, over a unix socket, without waiting for the disk). Each figure is the 95th percentile in milliseconds of many
calls with other values each. Not a test: nothing is asserted about speed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import insert

from collector.store.labels import KNOWN_GOOD, Label, put_label
from collector.store.rows import write
from collector.store.runs import get_run
from collector.store.schema import FINDINGS, LABELS, RUNS, TERMS
from collector.store.search import MOST, Search, search
from sandbox.database import open_database, upgrade, writing
from sandbox.database.schema import SUBMISSIONS
from sandbox.submissions.model import Request
from sandbox.submissions.query import get
from sandbox.submissions.submit import submit
from tests.benchmarks.runs import BEGIN, COMMON_RULE, RARE_RULE, Invented
from tests.servers import PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

_AT_ONCE: Final = 1_000
_FULL: Final = {"sweep": 10_000_000}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--times", type=int, default=300)
    given = parser.parse_args()
    results: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for kind, engine in engines(Path(directory)):
            upgrade(engine)
            invented = Invented()
            for runs in sorted(given.runs):
                fill(engine, invented, runs)
                for name, p95 in _measured(engine, invented, given.times):
                    results.setdefault(name, []).append(f"{p95:.1f}")
                    print(f"{kind} {runs:>7} {name}: {p95:.1f} ms", file=sys.stderr)
    heads = [f"{kind} {runs:,}" for kind in ("SQLite", "PostgreSQL") for runs in sorted(given.runs)]
    print(f"| p95, ms | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for name, figures in results.items():
        print(f"| {name} | {' | '.join(figures)} |")


def engines(directory: Path) -> Iterator[tuple[str, Engine]]:
    engine = open_database(f"sqlite:///{directory / 'fumehood.sqlite'}")
    yield "SQLite", engine
    engine.dispose()
    server = PostgreSQL()
    try:
        server.start()
        engine = open_database(server.create_database())
        yield "PostgreSQL", engine
        engine.dispose()
    finally:
        server.remove()


def fill(engine: Engine, invented: Invented, runs: int) -> None:
    """Add runs, each with its submission, until there are so many."""
    while invented.made < runs:
        several = [invented.run() for _ in range(min(_AT_ONCE, runs - invented.made))]
        with writing(engine) as connection:
            connection.execute(insert(RUNS), [one.run for one in several])
            for table, rows in ((FINDINGS, [one.findings for one in several]), (TERMS, [one.terms for one in several])):
                connection.execute(insert(table), [row for of_run in rows for row in of_run])
            connection.execute(insert(SUBMISSIONS), [invented.submission(one) for one in several])
            good = [invented.label(one) for one in several if invented.is_known_good(one)]
            connection.execute(insert(LABELS), [label for label, _ in good])
            connection.execute(insert(TERMS), [term for _, term in good])
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # As PostgreSQL does by itself, which it is told not to in tests.
        connection.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")


def _measured(engine: Engine, invented: Invented, times: int) -> Iterator[tuple[str, float]]:
    for name, call in _calls(engine, invented).items():
        call()
        took = []
        for _ in range(times):
            begin = time.perf_counter()
            call()
            took.append(time.perf_counter() - begin)
        yield name, statistics.quantiles(took, n=20)[-1] * 1000


def _calls(engine: Engine, invented: Invented) -> dict[str, Callable[[], Any]]:
    chance = random.Random(7)  # noqa: S311 - the same calls each time
    done = Request(package="", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, lane="sweep")

    def find(wanted: Callable[[], Search], limit: int = 50) -> Callable[[], Any]:
        def call() -> None:
            with engine.connect() as connection:
                search(connection, wanted(), limit=limit)

        return call

    def list_from(share: Callable[[], float]) -> Callable[[], Any]:
        def call() -> None:
            # A page from somewhere in the middle, as its cursor says.
            until = BEGIN + share() * invented.made
            with engine.connect() as connection:
                search(connection, Search(until=until))

        return call

    def submit_new() -> None:
        submit(engine, msgspec.structs.replace(done, package=f"pkg:pypi/new@{invented.number()}"), time.time(), _FULL)

    def submit_again() -> None:
        submit(engine, msgspec.structs.replace(done, package=invented.some_package(chance)), time.time(), _FULL)

    def show() -> None:
        with engine.connect() as connection:
            get_run(connection, invented.some_run(chance))

    def finish() -> None:
        with writing(engine) as connection:
            write(connection, invented.finished())

    def label() -> None:
        with writing(engine) as connection:
            said = Label(label=f"seen-{chance.randrange(50)}", note="", author="me", created=0.0)
            put_label(connection, invented.some_run(chance), said)

    return {
        "submit, new": submit_new,
        "submit, known": submit_again,
        "status": lambda: get(engine, invented.some_submission(chance)),
        "write the rows of a run": finish,
        "list, newest page": find(Search),
        "list, page in the middle": list_from(chance.random),
        f"list, page of {MOST}": find(Search, MOST),
        "search: package": find(lambda: Search(package=invented.some_name(chance))),
        "search: beginning of a name": find(lambda: Search(package=f"{invented.some_name(chance)[:9]}*")),
        "search: malicious": find(lambda: Search(verdicts=("malicious",))),
        "search: SHA-256": find(lambda: Search(sha256=invented.some_sha256(chance))),
        "search: rare domain": find(lambda: Search(indicator=invented.some_domain(chance))),
        "search: zone of every tenth run": find(lambda: Search(indicator="common.test")),
        "search: rule of every third run": find(lambda: Search(rule=COMMON_RULE)),
        "search: that rule and a rare one": find(lambda: Search(rule=COMMON_RULE, indicator="rare.test")),
        "search: technique, malicious": find(lambda: Search(technique="T1059", verdicts=("malicious",))),
        "search: label of every twentieth run": find(lambda: Search(label=KNOWN_GOOD)),
        "search: nothing like it": find(lambda: Search(rule=RARE_RULE, indicator="common.test", label="none")),
        "show a run, with prevalence": show,
        "label a run": label,
    }


if __name__ == "__main__":
    main()
