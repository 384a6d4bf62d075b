"""The evidence is the truth: rows are made again from it, it is verified, and what need not be kept goes."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import delete, select

from collector.analyse import analyse
from collector.bundle import Bundle
from collector.sigma.load import load_rules
from collector.store.evidence import evidence_of
from collector.store.labels import Label, put_label
from collector.store.rows import rows
from collector.store.schema import EVIDENCE, FINDINGS, LABELS, REBUILDS, RUNS, TERMS
from collector.suppressions import NONE
from sandbox.config.model import RetentionPlan
from sandbox.database import writing
from sandbox.errors import EvidenceError, EvidenceMissingError
from sandbox.evidence import open_evidence
from sandbox.resources import rules_directory
from sandbox.store.prune import plan_pruning, prune
from sandbox.store.rebuild import Plan, Rebuild, rebuild
from sandbox.store.record import record, take_in
from sandbox.store.verify import names, verify
from sandbox.submissions.attempts import Attempt, Result, claim, finish
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from tests.collector.bundles import write_bundle

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from collector.sigma.rule import RuleSet
    from collector.store.rows import RunRows

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "bundles").iterdir())
TABLES = (RUNS, FINDINGS, TERMS, EVIDENCE, LABELS)
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules(rules_directory())


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "evidence")


@pytest.fixture(scope="module")
def explained(rules: RuleSet) -> dict[Path, RunRows]:
    """The rows of all golden bundles."""
    return {path: rows(analyse(Bundle.open(path), rules)) for path in GOLDEN}


@pytest.fixture
def filled(engine: Engine, place: str, explained: dict[Path, RunRows]) -> list[str]:
    """All golden bundles in the store, one of their runs labelled; the ids of the runs in order."""
    seals = {path: open_evidence(place).put(path) for path in GOLDEN}
    runs = [seal.run for seal in seals.values()]
    with writing(engine) as connection:
        for path, seal in seals.items():
            record(connection, explained[path], seal)
        put_label(connection, runs[0], Label(label="known-good", note="", author="me", created=1.0))
    return sorted(runs)


def content(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in TABLES
        }


def quiet(_state: Rebuild, _total: int) -> None:
    """Show nothing."""


def empty(engine: Engine) -> None:
    with writing(engine) as connection:
        for table in (RUNS, EVIDENCE, REBUILDS):
            connection.execute(delete(table))


def test_a_rebuild_gives_the_same_rows(engine: Engine, place: str, filled: list[str]) -> None:
    before = content(engine)
    empty(engine)
    assert content(engine)["terms"] == []
    steps: list[tuple[int, int]] = []
    made = rebuild(engine, Plan(evidence=place, jobs=2), NOW, lambda it, total: steps.append((it.done, total)))
    assert (made.done, made.bad) == (len(filled), 0)
    assert steps == [(0, len(filled)), (len(filled), len(filled))]
    after = content(engine)
    for name, expected in before.items():
        assert expected, name
        assert after[name] == expected, name
    # And over rows that are there.
    rebuild(engine, Plan(evidence=place), NOW, quiet)
    assert content(engine) == before


def test_an_interrupted_rebuild_goes_on_where_it_was(
    engine: Engine, place: str, filled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.store.rebuild._BATCH", 2)
    before = content(engine)
    empty(engine)

    def stop(state: Rebuild, _total: int) -> None:
        if state.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(engine, Plan(evidence=place), NOW, stop)
    assert [row[0] for row in content(engine)["runs"]] == filled[:4]
    steps: list[int] = []
    made = rebuild(engine, Plan(evidence=place), NOW, lambda state, _total: steps.append(state.done))
    assert steps[0] == 4
    assert made.done == len(filled)
    assert content(engine) == before
    # The next one is a new one; so is one that is told to be, and one by other rules.
    rebuild(engine, Plan(evidence=place), NOW, lambda state, _total: steps.append(state.done))
    assert steps[2] == 0
    with engine.connect() as connection:
        assert connection.execute(select(REBUILDS.c.ended)).scalars().all() == [NOW, NOW]


def test_a_rebuild_and_those_who_write_the_same_rows_do_not_stop_each_other(
    engine: Engine, place: str, filled: list[str], explained: dict[Path, RunRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.store.rebuild._BATCH", 1)
    before = content(engine)
    seals = {run: open_evidence(place).seal(run) for run in filled}
    ended = threading.Event()

    def work() -> int:
        times = 0
        while not ended.is_set():
            for made in explained.values():
                with writing(engine) as connection:
                    record(connection, made, seals[made.run["run"]])
                times += 1
        return times

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            for _ in range(3):
                empty(engine)
                assert rebuild(engine, Plan(evidence=place), NOW, quiet).done == len(filled)
        finally:
            ended.set()
        assert working.result() > 0
    assert content(engine) == before


def test_bad_bundles_are_counted_and_told_and_their_rows_stay(engine: Engine, place: str, filled: list[str]) -> None:
    before = content(engine)
    bad = filled[2]
    (Path(place) / bad[:2] / bad / "bundle" / "bait.json").write_bytes(b"[]")
    made = rebuild(engine, Plan(evidence=place, restart=True), NOW, quiet)
    assert (made.done, made.bad) == (len(filled) - 1, 1)
    [failure] = made.failures
    assert failure.run == bad
    assert "is damaged" in failure.reason
    assert content(engine) == before


def test_a_bundle_that_is_whole_and_cannot_be_read_is_bad_too(engine: Engine, place: str, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", extra={"resources.jsonl.zst": b"not zstd"})
    run = open_evidence(place).put(bundle).run
    made = rebuild(engine, Plan(evidence=place), NOW, quiet)
    assert [failure.run for failure in made.failures] == [run]
    assert "not readable as zstd" in made.failures[0].reason


def test_a_store_that_fails_ends_a_rebuild_and_what_was_reached_is_kept(
    engine: Engine, place: str, filled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.store.rebuild._BATCH", 2)

    def fail(state: Rebuild, _total: int) -> None:
        if state.done == 2:
            shutil.rmtree(place)
            Path(place).write_bytes(b"")

    with pytest.raises(EvidenceError):
        rebuild(engine, Plan(evidence=place), NOW, fail)
    with engine.connect() as connection:
        assert connection.execute(select(REBUILDS.c.position)).scalars().all() == [filled[1]]


def test_everything_is_verified(engine: Engine, place: str, filled: list[str]) -> None:
    evidence = open_evidence(place)
    assert names(engine, evidence) == filled
    assert list(verify(engine, evidence, filled)) == [None] * len(filled)
    damaged, missing, unknown = filled[:3]
    path = Path(place) / damaged[:2] / damaged / "bundle" / "gateway.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-1])
    evidence.delete(missing)
    with writing(engine) as connection:
        connection.execute(delete(EVIDENCE).where(EVIDENCE.c.run == unknown))
        connection.execute(EVIDENCE.update().where(EVIDENCE.c.run == filled[3]).values(manifest_sha256="0" * 64))
        connection.execute(EVIDENCE.update().where(EVIDENCE.c.run == filled[4]).values(removed=1.0))
    faults = {fault.run: fault.fault for fault in verify(engine, evidence, filled) if fault}
    assert faults == {
        damaged: "damaged",
        missing: "missing",
        unknown: "no-rows",
        filled[3]: "other",
        filled[4]: "not-removed",
    }


def test_pruning_removes_evidence_and_rows_say_so(engine: Engine, place: str, filled: list[str]) -> None:
    evidence = open_evidence(place)
    before = content(engine)
    with engine.connect() as connection:
        verdicts = dict(connection.execute(select(RUNS.c.run, RUNS.c.verdict)).all())  # type: ignore[arg-type]
        labelled = connection.execute(select(LABELS.c.run)).scalars().all()
    plan = RetentionPlan(clean_days=1, malicious_days=1)
    pruning = plan_pruning(engine, plan, NOW)
    gone = [removal.run for removal in pruning.removals]
    assert sorted(gone) == sorted(set(filled) - set(labelled))
    assert {removal.run: removal.verdict for removal in pruning.removals} == {run: verdicts[run] for run in gone}
    assert list(evidence.runs()) == filled  # a plan removes nothing
    assert prune(engine, evidence, pruning, NOW, lambda: None) == len(gone)
    assert list(evidence.runs()) == labelled
    with engine.connect() as connection:
        row = evidence_of(connection, gone[0])
        assert row
        assert (row.removed, "older than 1 days" in row.reason) == (NOW, True)
    after = content(engine)
    assert {name: after[name] for name in ("runs", "findings", "terms")} == {
        name: before[name] for name in ("runs", "findings", "terms")
    }
    with pytest.raises(EvidenceMissingError):
        evidence.seal(gone[0])
    # Neither a second pruning nor a rebuild changes anything.
    assert plan_pruning(engine, plan, NOW).removals == ()
    rebuild(engine, Plan(evidence=place), NOW, quiet)
    assert content(engine) == after
    assert list(verify(engine, evidence, filled)) == [None] * len(filled)


def test_the_same_package_is_run_again_once_evidence_is_removed(engine: Engine, place: str, filled: list[str]) -> None:
    request = Request(package="pkg:pypi/thing@1.0", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64)
    attempt = Attempt(submission=submit(engine, request, NOW).submission.id, number=1, owner="here")
    assert claim(engine, attempt, NOW, 30.0)
    pruning = plan_pruning(engine, RetentionPlan(malicious_days=1), NOW)
    with writing(engine) as connection:
        assert finish(connection, attempt, Result(state="done", run=pruning.removals[0].run), NOW)
    assert not submit(engine, request, NOW).created
    prune(engine, open_evidence(place), pruning, NOW, lambda: None)
    assert submit(engine, request, NOW).created
    assert filled


def test_what_is_labelled_while_pruning_goes_on_stays(engine: Engine, place: str, filled: list[str]) -> None:
    evidence = open_evidence(place)
    pruning = plan_pruning(engine, RetentionPlan(clean_days=1, malicious_days=1), NOW)
    saved = pruning.removals[-1].run
    with writing(engine) as connection:
        put_label(connection, saved, Label(label="wanted", note="", author="me", created=1.0))
    assert prune(engine, evidence, pruning, NOW, lambda: None) == len(pruning.removals) - 1
    assert saved in list(evidence.runs())
    assert saved in filled


def test_a_pruning_that_was_killed_is_finished_by_the_next(engine: Engine, place: str, filled: list[str]) -> None:
    evidence = open_evidence(place)
    with writing(engine) as connection:
        connection.execute(EVIDENCE.update().where(EVIDENCE.c.run == filled[0]).values(removed=NOW))
    pruning = plan_pruning(engine, RetentionPlan(clean_days=0, inconclusive_days=0, suspicious_days=0), NOW)
    assert prune(engine, evidence, pruning, NOW, lambda: None) == 0
    assert list(evidence.runs()) == filled[1:]


def test_a_bundle_is_taken_in_from_where_it_was_made(
    engine: Engine, place: str, rules: RuleSet, tmp_path: Path
) -> None:
    bundle = tmp_path / "made"
    shutil.copytree(GOLDEN[0], bundle)
    report = take_in(engine, open_evidence(place), bundle, rules, NONE)
    shutil.rmtree(bundle)
    with open_evidence(place).open(report.manifest.run) as stored:
        assert stored.manifest == Bundle.open(GOLDEN[0]).manifest
    assert msgspec.json.encode(report)
