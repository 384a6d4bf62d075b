"""What is kept of runs, in a database in memory; the same on real databases is in tests/sandbox/store."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.pool import StaticPool

from collector.errors import SearchError
from collector.store.evidence import EvidenceRow, evidence_of, note_removed, note_stored
from collector.store.labels import KNOWN_GOOD, Label, labels_of, put_label, remove_label
from collector.store.rows import rows, write
from collector.store.runs import Indicator, Prevalence, get_run, prevalence
from collector.store.schema import METADATA, RUNS, TERMS
from collector.store.search import Search, search
from collector.store.stored import stored
from collector.store.terms import MOST, defang, refang, terms, wanted_indicator
from tests.collector.stored_runs import golden, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from collector.report import Report


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with engine.connect() as opened:
        opened.exec_driver_sql("PRAGMA foreign_keys = ON")
        yield opened
    engine.dispose()


def some_runs() -> list[Report]:
    """Sixty, two at each instant, the newest first."""
    reports = [
        made(
            number,
            name=("thing", "thing-two", "other")[number % 3],
            version=("1.0", "2.0")[number % 2],
            verdict=("clean", "suspicious", "malicious", "clean")[number % 4],
            rules=[rule for at, rule in enumerate(("rule-a", "rule-b"), 2) if number % at == 0],
            domains=["one.evil.test"] if number % 5 == 0 else ["evil.test"] if number % 7 == 0 else [],
            profile="slow" if number % 6 == 0 else "pypi",
        )
        for number in range(60)
    ]
    for at in range(0, 60, 2):
        manifest = msgspec.structs.replace(reports[at].manifest, created=reports[at + 1].manifest.created)
        reports[at] = msgspec.structs.replace(reports[at], manifest=manifest)
    return sorted(reports, key=lambda report: (rows(report).run["created"], report.manifest.run), reverse=True)


def label(text: str, note: str = "") -> Label:
    return Label(label=text, note=note, author="ann", created=5.0)


@pytest.mark.parametrize("name", ["golden-beacon", "golden-quiet", "reverse-shell", "pth-beacon", "import-dns-exfil"])
def test_a_run_is_read_back_as_it_was_reported(connection: Connection, name: str) -> None:
    report = golden(name)
    write(connection, rows(report))
    found = get_run(connection, report.manifest.run)
    assert found is not None
    assert (found.run.purl, found.run.verdict, found.run.reasons) == (
        report.package.purl,
        report.verdict,
        report.reasons,
    )
    assert [(one.name, one.level, one.phase, one.actor, one.count, one.attack) for one in found.findings] == [
        (one.name, one.level, one.phase, one.actor, one.count, one.attack) for one in report.findings
    ]
    assert {one.prevalence for one in found.findings} <= {Prevalence(runs=1, known_good=0, of_known_good=0)}
    assert Indicator(kind="sha256", value=report.package.sha256) in found.indicators
    assert (found.evidence, found.run.labels) == (None, ())
    assert get_run(connection, "another") is None


def test_writing_a_run_again_replaces_all_but_its_labels(connection: Connection) -> None:
    report = made(1, rules=["rule-a"])
    write(connection, rows(report))
    assert put_label(connection, report.manifest.run, label("seen"))
    write(connection, rows(made(1, verdict="malicious")))
    found = get_run(connection, report.manifest.run)
    assert found is not None
    assert (found.run.verdict, found.findings, found.run.labels) == ("malicious", (), (label("seen"),))
    assert connection.execute(select(func.count()).select_from(RUNS)).scalar_one() == 1
    assert {tuple(row) for row in connection.execute(select(TERMS.c.kind, TERMS.c.value))} == {
        ("sha256", report.package.sha256),
        ("label", "seen"),
    }


def test_labels_are_given_changed_and_taken(connection: Connection) -> None:
    report = made(1)
    run = report.manifest.run
    write(connection, rows(report))
    assert put_label(connection, run, label("seen"))
    assert put_label(connection, run, label("seen", "by two"))
    assert put_label(connection, run, label("a.b-c"))
    assert labels_of(connection, [run, "another"]) == {run: (label("a.b-c"), label("seen", "by two"))}
    assert [one.run for one in search(connection, Search(label="seen")).runs] == [run]
    assert remove_label(connection, run, "seen")
    assert not remove_label(connection, run, "seen")
    assert search(connection, Search(label="seen")).runs == ()
    assert not put_label(connection, "another", label("seen"))


@pytest.mark.parametrize("text", ["", "A", "-a", "a b", "a" * 65, "a\n"])
def test_a_label_of_other_characters_is_refused(connection: Connection, text: str) -> None:
    with pytest.raises(SearchError, match=r"cannot be a label; write up to 64 small letters"):
        put_label(connection, "x", label(text))


def test_how_rare_a_finding_is_among_all_and_among_the_good(connection: Connection) -> None:
    for number in range(6):
        report = made(number, rules=["rule-a"] if number < 3 else ["rule-b"] if number < 4 else [])
        write(connection, rows(report))
        if number in {2, 4, 5}:
            put_label(connection, report.manifest.run, label(KNOWN_GOOD))
    assert prevalence(connection, ["rule-a", "rule-b", "rule-a", "rule-c"]) == {
        "rule-a": Prevalence(runs=3, known_good=1, of_known_good=3),
        "rule-b": Prevalence(runs=1, known_good=0, of_known_good=3),
        "rule-c": Prevalence(runs=0, known_good=0, of_known_good=3),
    }
    assert remove_label(connection, made(4).manifest.run, KNOWN_GOOD)
    assert prevalence(connection, ["rule-a"]) == {"rule-a": Prevalence(runs=3, known_good=1, of_known_good=2)}


def test_what_became_of_a_bundle(connection: Connection) -> None:
    kept, labelled = made(1).manifest.run, made(2).manifest.run
    for number in (1, 2):
        write(connection, rows(made(number)))
        note_stored(connection, made(number).manifest.run, "a" * 64, 7)
    put_label(connection, labelled, label("seen"))
    note_stored(connection, kept, "b" * 64, 8)
    assert evidence_of(connection, kept) == EvidenceRow(manifest_sha256="b" * 64, size=8)
    assert note_removed(connection, kept, "old", 9.0)
    assert not note_removed(connection, kept, "older", 10.0)
    assert not note_removed(connection, labelled, "old", 9.0)
    assert evidence_of(connection, kept) == EvidenceRow(manifest_sha256="b" * 64, size=8, removed=9.0, reason="old")
    assert evidence_of(connection, "another") is None


CONDITIONS: dict[str, tuple[Search, Callable[[Report], bool]]] = {
    "all": (Search(), bool),
    "name": (Search(package="Thing_Two"), lambda it: it.package.name == "thing-two"),
    "beginning": (Search(package="thing*"), lambda it: it.package.name.startswith("thing")),
    "purl": (
        Search(package="pkg:pypi/other@2.0"),
        lambda it: (it.package.name, it.package.version) == ("other", "2.0"),
    ),
    "version": (
        Search(package="other", version="1.0"),
        lambda it: (it.package.name, it.package.version) == ("other", "1.0"),
    ),
    "verdict": (Search(verdicts=("malicious",)), lambda it: it.verdict == "malicious"),
    "verdicts": (Search(verdicts=("malicious", "suspicious")), lambda it: it.verdict != "clean"),
    "profile": (Search(profile="slow"), lambda it: it.profile.name == "slow"),
    "rule": (Search(rule="rule-a"), lambda it: any(one.name == "rule-a" for one in it.findings)),
    "two terms": (
        Search(rule="rule-b", indicator="evil[.]test"),
        lambda it: bool(it.network.dns) and any(one.name == "rule-b" for one in it.findings),
    ),
    "rare and common": (
        Search(package="thing", technique="t1059", sha256=f"{6:064x}"),
        lambda it: it.package.sha256 == f"{6:064x}",
    ),
    "name rarer than term": (
        Search(package="none-such", technique="t1059"),
        lambda it: not it,
    ),
    "since and until": (
        Search(since=1_793_491_200.0 + 10, until=1_793_491_200.0 + 20),
        lambda it: 10 <= rows(it).run["created"] - 1_793_491_200 < 20,
    ),
}


def test_runs_are_found_page_by_page_by_each_condition(connection: Connection) -> None:
    reports = some_runs()
    for report in reports:
        write(connection, rows(report))
    found_some = 0
    for name, (wanted, holds) in CONDITIONS.items():
        found: list[str] = []
        cursor = ""
        while True:
            page = search(connection, wanted, cursor=cursor, limit=7)
            found += [run.run for run in page.runs]
            cursor = page.cursor
            if not cursor:
                break
        assert found == [report.manifest.run for report in reports if holds(report)], name
        found_some += bool(found)
    assert found_some == len(CONDITIONS) - 1


@pytest.mark.parametrize(
    ("wanted", "cursor", "says"),
    [
        (Search(), "x", "the cursor is not one of ours"),
        (Search(), "WzEsMl0", "the cursor is not one of ours"),
        (Search(package="pkg:pypi"), "", "is not a package URL"),
        (Search(version="1.0"), "", "of which package"),
    ],
)
def test_what_cannot_be_looked_for_is_told(connection: Connection, wanted: Search, cursor: str, says: str) -> None:
    with pytest.raises(SearchError, match=says):
        search(connection, wanted, cursor=cursor)


@pytest.mark.parametrize(
    ("written", "term"),
    [
        (" evil[.]TEST. ", ("zone", "evil.test")),
        ("*.evil(dot)test", ("zone", "evil.test")),
        ("hxxps[://]evil{.}test/A", ("url", "https://evil.test/A")),
        ("203[.]0.113[.]7", ("address", "203.0.113.7")),
        ("[2001:DB8[:]:1]", ("address", "2001:db8::1")),
        ("127.0.0.1", ("zone", "127.0.0.1")),
        ("AB" * 32, ("sha256", "ab" * 32)),
    ],
)
def test_an_indicator_is_understood_as_people_write_it(written: str, term: tuple[str, str]) -> None:
    assert wanted_indicator(written) == term


@pytest.mark.parametrize(
    ("kind", "value", "harmless"),
    [
        ("domain", "a.evil.test", "a[.]evil[.]test"),
        ("address", "203.0.113.7", "203[.]0[.]113[.]7"),
        ("address", "2001:db8::1", "2001[:]db8[:][:]1"),
        ("url", "https://evil.test/a.b?c=http", "hxxps://evil[.]test/a.b?c=http"),
        ("url", "http://evil.test", "hxxp://evil[.]test"),
        ("sha256", "ab" * 32, "ab" * 32),
    ],
)
def test_an_indicator_is_shown_harmless_and_read_again(kind: str, value: str, harmless: str) -> None:
    assert defang(kind, value) == harmless
    assert refang(harmless) == value
    assert wanted_indicator(harmless) == ("zone" if kind == "domain" else kind, value)


def test_what_a_run_is_found_by_of_what_it_requested() -> None:
    report = golden("golden-beacon")
    http = report.network.http[0]
    asked = [
        {"host": "Evil.TEST", "port": 80, "tls": False, "target": "/a"},
        {"host": "evil.test", "port": 8443, "tls": True, "target": "/b"},
        {"host": "2001:db8::1", "port": 80, "tls": False, "target": "/c", "ip": "2001:db8::1"},
        {"host": "evil.test", "port": 80, "tls": False, "target": "http://proxied.test/d"},
        {"host": "", "port": 80, "tls": False, "target": "/nowhere"},
        {"host": "files.test", "port": 443, "tls": True, "target": "/six", "role": "registry"},
    ]
    requests = tuple(msgspec.structs.replace(http, **{"role": "", "ip": "203.0.113.9", **one}) for one in asked)
    network = msgspec.structs.replace(report.network, dns=(), tls=(), other=(), http=requests)
    found = terms(msgspec.structs.replace(report, network=network, findings=(), dropped=None))
    assert found == (
        ("address", "2001:db8::1"),
        ("address", "203.0.113.9"),
        ("domain", "evil.test"),
        ("sha256", report.package.sha256),
        ("url", "http://[2001:db8::1]/c"),
        ("url", "http://evil.test/a"),
        ("url", "http://proxied.test/d"),
        ("url", "https://evil.test:8443/b"),
        ("zone", "evil.test"),
    )


def test_terms_of_a_kind_are_bounded() -> None:
    found = terms(made(1, domains=[f"a{number}.test" for number in range(MOST + 10)]))
    assert len([value for kind, value in found if kind == "domain"]) == MOST


def test_text_is_stored_as_every_database_takes_it() -> None:
    assert stored("a\0b\ud800c") == "a\ufffdb?c"
    cut = stored("\u00e9" * 100, 99)
    assert (len(cut.encode()) <= 99, cut[-1], cut[0]) == (True, "\u2026", "\u00e9")
    assert all(stored(text) == text for text in itertools.chain(["", "plain"], map(chr, (0x7F, 0xFFFF))))
