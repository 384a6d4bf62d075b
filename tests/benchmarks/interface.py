"""What a request to `fumehood serve` costs, by how many runs there are.

    .venv/bin/python -m tests.benchmarks.interface [--runs 1000 100000] [--times N]

Prints a table of docs/performance.md for SQLite and for PostgreSQL. The server is the real one, in a process of its
own, with a Redis; it and the databases are started here, on this machine, as the tests do. Each figure is the 95th
percentile in milliseconds of many requests with other values each: by one client with one connection, or by eight at
a time. Not a test: nothing is asserted about speed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2

from collector.store.labels import KNOWN_GOOD
from sandbox import tokens
from sandbox.database import upgrade
from tests.benchmarks.runs import COMMON_RULE, Invented
from tests.benchmarks.store import engines, fill
from tests.servers import RedisKind, RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

_KNOWN: Final = 50
"""Packages that are submitted again and again."""
_AT_ONCE: Final = 8
_COMMAND: Final = Path(sys.executable).with_name("fumehood")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--times", type=int, default=300)
    given = parser.parse_args()
    results: dict[str, list[str]] = {}
    redis = RedisServer(RedisKind())
    try:
        redis.start()
        with tempfile.TemporaryDirectory() as directory:
            for kind, engine in engines(Path(directory)):
                upgrade(engine)
                invented = Invented()
                for runs in sorted(given.runs):
                    fill(engine, invented, runs)
                    with _serving(Path(directory) / f"{kind}-{runs}", engine, redis.url) as client:
                        for name, p95 in _measured(client, invented, given.times):
                            results.setdefault(name, []).append(f"{p95:.1f}")
                            print(f"{kind} {runs:>7} {name}: {p95:.1f} ms", file=sys.stderr)
    finally:
        redis.remove()
    heads = [f"{kind} {runs:,}" for kind in ("SQLite", "PostgreSQL") for runs in sorted(given.runs)]
    print(f"| p95, ms | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for name, figures in results.items():
        print(f"| {name} | {' | '.join(figures)} |")


@contextmanager
def _serving(place: Path, engine: Engine, redis: str) -> Iterator[httpx2.Client]:
    """The server, in a process of its own, and a client of it with the role `analyst`."""
    place.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FUMEHOOD_")}
    environment = kept | {
        "XDG_CONFIG_HOME": str(place),
        "FUMEHOOD_DATA": str(place),
        "FUMEHOOD_DATABASE": engine.url.set(drivername=engine.dialect.name).render_as_string(hide_password=False),
        "FUMEHOOD_REDIS": redis,
        "FUMEHOOD_API_REQUESTS_PER_MINUTE": "1000000",
        "FUMEHOOD_QUEUE_MANUALS": "1000000",
    }
    _, secret = tokens.create(engine, place.name, "analyst", time.time(), None)
    log = (place / "serve.log").open("w+")
    with subprocess.Popen([_COMMAND, "serve", "--port", "0"], env=environment, stderr=log) as server, log:
        try:
            headers = {"Authorization": f"Bearer {secret}"}
            with httpx2.Client(base_url=_url(server, place / "serve.log"), headers=headers, trust_env=False) as client:
                yield client
        finally:
            server.terminate()


def _url(server: subprocess.Popen[bytes], log: Path) -> str:
    while server.poll() is None:
        if found := re.search(r"http://\S+/api/v1", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def _measured(client: httpx2.Client, invented: Invented, times: int) -> Iterator[tuple[str, float]]:
    for name, request in _requests(client, invented).items():
        # The first ones open connections and fill caches.
        for _ in range(_AT_ONCE):
            _took(request)
        yield name, _p95([_took(request) for _ in range(times)])
        if name in {"submit, new", "status", "list runs, newest page"}:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                took = list(pool.map(lambda _, request=request: _took(request), range(times)))
            yield f"{name}, {_AT_ONCE} at a time", _p95(took)


def _took(request: Callable[[], httpx2.Response]) -> float:
    begin = time.perf_counter()
    answer = request()
    took = time.perf_counter() - begin
    answer.raise_for_status()
    return took


def _p95(took: list[float]) -> float:
    return statistics.quantiles(took, n=20)[-1] * 1000


def _requests(client: httpx2.Client, invented: Invented) -> dict[str, Callable[[], httpx2.Response]]:
    chance = random.Random(7)  # noqa: S311 - the same requests each time
    numbers = itertools.count()
    batch = f"{invented.made}-{time.time_ns()}"

    def submit(purl: str) -> httpx2.Response:
        return client.post("/submissions", json={"purl": purl})

    for number in range(_KNOWN):
        submit(f"pkg:pypi/known-{number}@1.0").raise_for_status()

    def runs(**wanted: str) -> httpx2.Response:
        return client.get("/runs", params=wanted)

    return {
        "submit, new": lambda: submit(f"pkg:pypi/new-{batch}-{next(numbers)}"),
        "submit, known": lambda: submit(f"pkg:pypi/known-{chance.randrange(_KNOWN)}@1.0"),
        "status": lambda: client.get(f"/submissions/{invented.some_submission(chance)}"),
        "list submissions, newest page": lambda: client.get("/submissions"),
        "list submissions, done": lambda: client.get("/submissions", params={"state": "done"}),
        "list submissions, dead": lambda: client.get("/submissions", params={"state": "dead"}),
        "list submissions, malicious": lambda: client.get("/submissions", params={"verdict": "malicious"}),
        "list submissions, of a package": lambda: client.get(
            "/submissions", params={"package": invented.some_package(chance)}
        ),
        "list runs, newest page": runs,
        "search: package": lambda: runs(package=invented.some_name(chance)),
        "search: malicious": lambda: runs(verdict="malicious"),
        "search: SHA-256": lambda: runs(sha256=invented.some_sha256(chance)),
        "search: rare domain": lambda: runs(indicator=invented.some_domain(chance)),
        "search: rule of every third run": lambda: runs(rule=COMMON_RULE),
        "search: label of every twentieth run": lambda: runs(label=KNOWN_GOOD),
        "show a run, with prevalence": lambda: client.get(f"/runs/{invented.some_run(chance)}"),
    }


if __name__ == "__main__":
    main()
