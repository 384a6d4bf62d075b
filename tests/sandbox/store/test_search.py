"""Runs are found by everything that is kept of them, page by page, on both databases alike."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from collector.errors import SearchError
from collector.store.labels import Label, put_label
from collector.store.rows import rows, write
from collector.store.search import Search, search, statement
from sandbox.database import writing
from tests.collector.stored_runs import golden, made

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from collector.report import Report

NAMES = ("thing", "thing-two", "other", "theme")
DOMAINS = ("one.evil.test", "two.evil.test", "evil.test", "fine.example")
RULES = ("rule-a", "rule-b", "rule-c")
MANY = 120
FIRST = 1_793_491_200.0
"""The first of November 2026."""


def some_runs() -> list[Report]:
    chance = random.Random(5)  # noqa: S311 - the same runs each time
    return [
        made(
            # Two at each instant: the order among them counts too.
            number // 2 if number % 20 else number,
            name=chance.choice(NAMES),
            version=chance.choice(("1.0", "2.0")),
            verdict=chance.choice(("clean", "clean", "suspicious", "malicious", "inconclusive")),
            rules=chance.sample(RULES, chance.choice((0, 0, 1, 2))),
            domains=chance.sample(DOMAINS, chance.choice((0, 0, 1, 2))),
            profile=chance.choice(("pypi", "pypi", "slow")),
        )
        for number in range(MANY)
    ]


@pytest.fixture
def reports(engine: Engine) -> list[Report]:
    """Some runs, in the database, a third of them labelled; in the order of a search."""
    unique = {report.manifest.run: report for report in some_runs()}
    with writing(engine) as connection:
        for number, report in enumerate(unique.values()):
            write(connection, rows(report))
            if number % 3 == 0:
                put_label(connection, report.manifest.run, Label(label="seen", note="", author="me", created=0.0))
    return sorted(unique.values(), key=lambda report: (rows(report).run["created"], report.manifest.run), reverse=True)


def all_pages(connection: Connection, wanted: Search, limit: int = 7) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        page = search(connection, wanted, cursor=cursor, limit=limit)
        assert len(page.runs) <= limit
        found += [run.run for run in page.runs]
        if not page.cursor:
            return found
        cursor = page.cursor


CONDITIONS: dict[str, tuple[dict[str, object], Callable[[Report], bool]]] = {
    "package": ({"package": "thing"}, lambda it: it.package.name == "thing"),
    "as written": ({"package": "Thing_Two"}, lambda it: it.package.name == "thing-two"),
    "beginning": ({"package": "th*"}, lambda it: it.package.name.startswith("th")),
    "purl": (
        {"package": "pkg:pypi/other@2.0"},
        lambda it: (it.package.name, it.package.version) == ("other", "2.0"),
    ),
    "verdict": ({"verdicts": ("malicious",)}, lambda it: it.verdict == "malicious"),
    "verdicts": (
        {"verdicts": ("malicious", "suspicious")},
        lambda it: it.verdict in {"malicious", "suspicious"},
    ),
    "profile": ({"profile": "slow"}, lambda it: it.profile.name == "slow"),
    "rule": ({"rule": "rule-a"}, lambda it: any(finding.name == "rule-a" for finding in it.findings)),
    "rule's id": ({"rule": "id-of-rule-b"}, lambda it: any(finding.name == "rule-b" for finding in it.findings)),
    "technique": ({"technique": "t1059.004"}, lambda it: bool(it.findings)),
    "technique's whole": ({"technique": "T1059"}, lambda it: bool(it.findings)),
    "domain": (
        {"indicator": "one.evil[.]test"},
        lambda it: any(attempt.name == "one.evil.test" for attempt in it.network.dns),
    ),
    "domain and below": (
        {"indicator": "EVIL.test."},
        lambda it: any(attempt.name.endswith("evil.test") for attempt in it.network.dns),
    ),
    "sha256": ({"sha256": f"{9:064x}"}, lambda it: it.package.sha256 == f"{9:064x}"),
    "since": ({"since": FIRST + 20}, lambda it: rows(it).run["created"] >= FIRST + 20),
    "until": ({"until": FIRST + 40}, lambda it: rows(it).run["created"] < FIRST + 40),
}
PAIRS = sorted(itertools.combinations(CONDITIONS, 2))


def test_no_condition_lists_all_the_newest_first(engine: Engine, reports: list[Report]) -> None:
    with engine.connect() as connection:
        assert all_pages(connection, Search()) == [report.manifest.run for report in reports]


def test_each_condition_and_each_two_of_them_find_what_they_say(engine: Engine, reports: list[Report]) -> None:
    found_some = 0
    with engine.connect() as connection:
        for names in [*((name,) for name in CONDITIONS), *PAIRS]:
            conditions = [CONDITIONS[name] for name in names]
            merged = {key: value for given, _ in conditions for key, value in given.items()}
            if len(merged) < len(conditions):
                continue
            expected = [report.manifest.run for report in reports if all(holds(report) for _, holds in conditions)]
            assert all_pages(connection, Search(**merged)) == expected, names  # type: ignore[arg-type]
            found_some += bool(expected)
    assert found_some > 80


def test_labels_are_found_with_other_conditions(engine: Engine, reports: list[Report]) -> None:
    with engine.connect() as connection:
        labelled = all_pages(connection, Search(label="seen"))
        assert len(labelled) == -(-len(reports) // 3)
        with_rule = all_pages(connection, Search(label="seen", rule="rule-a"))
        assert with_rule == [run for run in all_pages(connection, Search(rule="rule-a")) if run in labelled]
        assert [label.label for label in search(connection, Search(label="seen")).runs[0].labels] == ["seen"]


@pytest.mark.parametrize("like", ["golden-beacon", "reverse-shell", "pth-beacon", "import-dns-exfil"])
def test_real_runs_are_found_by_what_they_did(engine: Engine, like: str) -> None:
    report = golden(like)
    indicator = {
        "golden-beacon": "collector.test",
        "reverse-shell": "203[.]0.113[.]7",
        "pth-beacon": "hxxp://beacon[.]test/alive",
        "import-dns-exfil": "exfil.test",
    }[like]
    with writing(engine) as connection:
        for name in ("golden-beacon", "reverse-shell", "pth-beacon", "import-dns-exfil", "golden-quiet"):
            write(connection, rows(golden(name)))
    with engine.connect() as connection:
        assert all_pages(connection, Search(indicator=indicator)) == [report.manifest.run]
        assert all_pages(connection, Search(indicator=report.package.sha256.upper())) == [report.manifest.run]


def test_a_cursor_of_somebody_else_is_refused(engine: Engine) -> None:
    with engine.connect() as connection:
        for cursor in ("x", "AAAA", "bnVsbA", "W10", "é", "WzEsMl0", "\0"):
            with pytest.raises(SearchError, match="the cursor is not one of ours"):
                search(connection, Search(), cursor=cursor)


def test_what_cannot_be_looked_for_is_told(engine: Engine) -> None:
    with engine.connect() as connection:
        for wanted in (Search(package="pkg:"), Search(package="pkg:pypi"), Search(version="1.0")):
            with pytest.raises(SearchError):
                search(connection, wanted)


HOSTILE = ("'; DROP TABLE runs; --", "\0", "\ud800", "%", "_", "*", "a" * 100_000)


def test_nothing_that_is_looked_for_disturbs(engine: Engine, reports: list[Report]) -> None:
    with engine.connect() as connection:
        keys = ("package", "sha256", "indicator", "rule", "technique", "label", "profile")
        for key, hostile in itertools.product(keys, HOSTILE):
            found = all_pages(connection, Search(**{key: hostile}), limit=500)
            assert found == ([report.manifest.run for report in reports] if (key, hostile) == ("package", "*") else [])


READ_OFF = (
    Search(),
    Search(package="thing"),
    Search(verdicts=("malicious",)),
    Search(profile="slow"),
    Search(rule="rule-a"),
    Search(technique="T1059"),
    Search(indicator="evil.test"),
    Search(label="seen"),
    Search(label="seen", rule="rule-a", indicator="evil.test"),
    Search(since=FIRST, until=FIRST + 50),
)


def test_a_page_is_read_off_an_index_without_sorting(engine: Engine, reports: list[Report]) -> None:
    assert reports
    with engine.connect() as connection:
        cursor = search(connection, Search(), limit=10).cursor
        for wanted, at in itertools.product(READ_OFF, ("", cursor)):
            query = statement(connection, wanted, at, 51)
            plan = _plan(connection, query.compile(connection, compile_kwargs={"literal_binds": True}))
            found = [word for word in ("TEMP B-TREE", "Sort", "SCAN runs\n", "Seq Scan") if word in plan]
            assert not found, (wanted, plan)


def _plan(connection: Connection, query: object) -> str:
    if connection.dialect.name == "sqlite":
        rows_of_plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
        return "\n".join(row[3] for row in rows_of_plan) + "\n"
    # With so few rows it would rather read them all, and sort them.
    for setting in ("seqscan", "bitmapscan"):
        connection.execute(text(f"SET LOCAL enable_{setting} = off"))
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {query}").all())
