"""What is kept of a run, what people say of it, and how rare its findings are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import func, select

from collector.errors import SearchError
from collector.store.evidence import evidence_of, note_removed, note_stored
from collector.store.labels import KNOWN_GOOD, Label, put_label, remove_label
from collector.store.rows import rows, write
from collector.store.runs import Prevalence, get_run, prevalence
from collector.store.schema import FINDINGS, RUNS, TERMS
from collector.store.search import Search, search
from sandbox.database import writing
from tests.collector.stored_runs import golden, made

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

LABEL = Label(label=KNOWN_GOOD, note="looked at", author="somebody", created=1.0)


def counts(connection: Connection) -> list[int]:
    return [
        connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (RUNS, FINDINGS, TERMS)
    ]


def test_a_run_is_read_as_it_was_written(engine: Engine) -> None:
    report = golden("pth-beacon")
    with writing(engine) as connection:
        write(connection, rows(report))
    with engine.connect() as connection:
        detail = get_run(connection, report.manifest.run)
    assert detail
    assert (detail.run.purl, detail.run.verdict) == (report.package.purl, "malicious")
    assert detail.run.reasons == report.reasons
    assert detail.run.events == report.events
    assert [finding.name for finding in detail.findings] == [finding.name for finding in report.findings]
    assert {(it.kind, it.value) for it in detail.indicators} == {
        ("domain", "beacon.test"),
        ("url", "http://beacon.test/alive"),
        ("sha256", report.package.sha256),
    }
    assert detail.evidence is None


def test_writing_again_changes_nothing_and_keeps_labels(engine: Engine) -> None:
    made_rows = rows(golden("pth-beacon"))
    run = made_rows.run["run"]
    with writing(engine) as connection:
        write(connection, made_rows)
        put_label(connection, run, LABEL)
        before = counts(connection)
        write(connection, made_rows)
        assert counts(connection) == before
    with engine.connect() as connection:
        assert [found.run for found in search(connection, Search(label=KNOWN_GOOD)).runs] == [run]


def test_labels_are_put_changed_and_taken_away(engine: Engine) -> None:
    report = golden("pth-beacon")
    run = report.manifest.run
    with writing(engine) as connection:
        assert not put_label(connection, run, LABEL)  # there is no such run yet
        write(connection, rows(report))
        assert put_label(connection, run, LABEL)
        assert put_label(connection, run, msgspec.structs.replace(LABEL, note="twice"))
        assert put_label(connection, run, msgspec.structs.replace(LABEL, label="another"))
    with engine.connect() as connection:
        detail = get_run(connection, run)
        assert detail
        assert [(label.label, label.note) for label in detail.run.labels] == [
            ("another", "looked at"),
            (KNOWN_GOOD, "twice"),
        ]
    with writing(engine) as connection:
        assert remove_label(connection, run, KNOWN_GOOD)
        assert not remove_label(connection, run, KNOWN_GOOD)
        assert search(connection, Search(label=KNOWN_GOOD)).runs == ()


def test_there_is_no_run_of_an_impossible_id(engine: Engine) -> None:
    with writing(engine) as connection:
        for run in ("", "\0", "\ud800", "x" * 10_000):
            assert get_run(connection, run) is None
            assert not put_label(connection, run, LABEL)
            assert not remove_label(connection, run, run)


def test_what_cannot_be_a_label_is_told(engine: Engine) -> None:
    with writing(engine) as connection:
        for label in ("", "Upper", "two words", "-x", "x" * 65, "ü", "a\n"):
            with pytest.raises(SearchError, match="cannot be a label"):
                put_label(connection, "0" * 16, msgspec.structs.replace(LABEL, label=label))


def test_findings_tell_how_rare_they_are(engine: Engine) -> None:
    with writing(engine) as connection:
        for number in range(10):
            write(connection, rows(made(number, rules=["usual"] if number % 2 else ["usual", "rare"])))
            if number < 6:
                put_label(connection, rows(made(number)).run["run"], LABEL)
    with engine.connect() as connection:
        assert prevalence(connection, ["usual", "rare", "never"]) == {
            "usual": Prevalence(runs=10, known_good=6, of_known_good=6),
            "rare": Prevalence(runs=5, known_good=3, of_known_good=6),
            "never": Prevalence(runs=0, known_good=0, of_known_good=6),
        }
        detail = get_run(connection, rows(made(0)).run["run"])
        assert detail
        assert [finding.prevalence.known_good for finding in detail.findings] == [6, 3]


def test_rows_say_that_evidence_was_removed_and_when(engine: Engine) -> None:
    report = golden("pth-beacon")
    run = report.manifest.run
    with writing(engine) as connection:
        write(connection, rows(report))
        note_stored(connection, run, "a" * 64, 5_000_000_000)
        note_removed(connection, run, "older than 30 days", 123.5)
        write(connection, rows(report))
    with engine.connect() as connection:
        row = evidence_of(connection, run)
    assert row
    assert (row.size, row.removed, row.reason) == (5_000_000_000, 123.5, "older than 30 days")


HOSTILE = ("\0", "\u202e", "\U0001f9ea" * 5_000, "'\"\\", "a" * 1_000_000)


def test_whatever_a_package_calls_itself_can_be_kept(engine: Engine) -> None:
    """Neither database may refuse a run's rows: an index of PostgreSQL has short keys, and it knows no NUL."""
    for number, text in enumerate(HOSTILE):
        report = made(number, name=text, version=text, rules=["x"], domains=[f"{text}.evil.test"])
        [finding] = report.findings
        [*_, request] = golden("pth-beacon").network.http
        hostile = msgspec.structs.replace(
            report,
            reasons=(text,),
            findings=(msgspec.structs.replace(finding, actor=text, title=text),),
            network=msgspec.structs.replace(
                report.network, http=(msgspec.structs.replace(request, target=f"/{text}", role=""),)
            ),
        )
        with writing(engine) as connection:
            write(connection, rows(hostile))
            detail = get_run(connection, hostile.manifest.run)
        assert detail
        assert {it.kind for it in detail.indicators} == {"domain", "url", "sha256"}
