"""A sweep submits what its feed names: each once, none lost, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import delete, func, insert, select, update

from collector.store.schema import RUNS
from sandbox.database import writing
from sandbox.database.schema import SUBMISSIONS, SWEEP_ENTRIES, SWEEP_RUNS, SWEEPS
from sandbox.errors import SweepBusyError, SweepLostError
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from sandbox.sweeps import rows
from sandbox.sweeps.feeds.make import make_feed
from sandbox.sweeps.plan import Budget, FeedPlan, Filters, Sweep
from sandbox.sweeps.preview import Preview, preview
from sandbox.sweeps.run import Outcome, Service, run_sweep
from sandbox.sweeps.schedule import Due, keep_schedule, take

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from sandbox.registry.fetch import Fetcher

    from .conftest import SweptIndex

NOW = 1_795_900_000.0
REQUEST = Request(
    package="", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, lane="sweep", submitter="sweep:ours"
)


class Bench:
    """A sweep over a file, and what it works with."""

    def __init__(self, engine: Engine, fetcher: Fetcher, directory: Path) -> None:
        self.engine = engine
        self.names = directory / "names.txt"
        self.now = NOW
        self.told: list[str] = []
        self.announced: list[str] = []
        self.stop = threading.Event()
        self.service = Service(
            engine=engine,
            fetcher=fetcher,
            owner="here:1",
            stop=self.stop,
            clock=self.clock,
            announce=lambda submission: self.announced.append(submission.package),
            tell=self.told.append,
        )
        self.sweep = Sweep(name="ours", directory=directory, feed=FeedPlan(kind="file", source="names.txt"))

    def clock(self) -> float:
        """Goes on, so that what is newer has a later identifier."""
        self.now += 0.01
        return self.now

    def write(self, *names: str) -> None:
        self.names.write_text("\n".join(names))

    def run(self, *, room: int = 1000, **plan: Any) -> Outcome:
        sweep = msgspec.structs.replace(self.sweep, **plan)
        feed = make_feed(sweep.feed, sweep.directory, self.service.fetcher, self.now)
        return run_sweep(self.service, sweep, feed, REQUEST, room)

    def submissions(self) -> list[str]:
        with self.engine.connect() as connection:
            found = connection.execute(select(SUBMISSIONS.c.package, SUBMISSIONS.c.artefact).order_by(SUBMISSIONS.c.id))
            return [f"{package.removeprefix('pkg:pypi/')} {artefact}" for package, artefact in found]

    def entries(self) -> dict[str, tuple[str, str]]:
        table = SWEEP_ENTRIES.c
        with self.engine.connect() as connection:
            found = connection.execute(select(table.purl, table.artefact, table.state, table.reason).order_by(table.id))
            return {
                f"{purl.removeprefix('pkg:pypi/')} {artefact}": (state, reason)
                for purl, artefact, state, reason in found
            }


@pytest.fixture
def bench(engine: Engine, fetcher: Fetcher, tmp_path: Path) -> Bench:
    return Bench(engine, fetcher, tmp_path)


def test_releases_are_submitted_once(bench: Bench, index: SweptIndex) -> None:
    index.release("one", "1.0", "2.0", "3.0rc1")
    index.release("two", "1.0")
    bench.write("one", "two==1.0", "two", "missing", "one==7")
    outcome = bench.run()
    assert outcome.state == "complete"
    assert sorted(bench.submissions()) == ["one@2.0 auto", "two@1.0 auto"]
    assert sorted(bench.announced) == ["pkg:pypi/one@2.0", "pkg:pypi/two@1.0"]
    assert outcome.counts == {"submitted": 2, "existing": 1, "gone": 2}
    again = bench.run()
    assert again.counts == {"existing": 3, "gone": 2}
    assert len(bench.submissions()) == 2


def test_filters(bench: Bench, index: SweptIndex) -> None:
    mib = 1024**2
    index.release("good", "1.0", when="2026-11-20T00:00:00Z", size=mib)
    index.release("huge", "1.0", when="2026-11-20T00:00:00Z", size=9 * mib)
    index.release("old", "1.0", when="2020-11-20T00:00:00Z")
    index.release("new", "1.0", when="2026-11-28T23:00:00Z")
    index.release("undated", "1.0", when="")
    index.release("internal-x", "1.0")
    index.release("other", "1.0")
    bench.write("good", "huge", "old", "new", "undated", "internal-x", "other")
    filters = Filters(
        names=("good", "huge", "old", "new", "undated", "internal-*"),
        not_names=("internal-*",),
        newer_than_days=30,
        older_than_days=2,
        largest_mb=8,
        artefacts=("sdist",),
    )
    bench.now = 1_795_910_000.0  # the 29th of November
    assert bench.run(filters=filters).counts == {"submitted": 1, "skipped": 6}
    assert bench.submissions() == ["good@1.0 sdist"]
    reasons = {name.split()[0]: reason for name, (_, reason) in bench.entries().items()}
    assert reasons["huge"] == "larger than 8 MiB"
    assert reasons["old"] == "older than 30 days"
    assert reasons["new"] == "not yet 2 days old"
    assert "does not say when" in reasons["undated"]
    assert reasons["internal-x"] == "its name is excluded"
    assert reasons["other"] == "its name is not among those wanted"
    # A name that keeps a package out is not even looked up.
    assert not any("internal-x" in path for _, path, _ in index.seen)


def test_each_kind_of_artefact_is_a_submission(bench: Bench, index: SweptIndex) -> None:
    index.release("both", "1.0")
    index.release("sdist-only", "1.0")
    index.add_files("sdist-only", "2.0", "2026-11-20T00:00:00Z", 2)
    bench.write("both", "sdist-only")
    bench.run(filters=Filters(artefacts=("wheel", "sdist")))
    assert sorted(bench.submissions()) == ["both@1.0 sdist", "both@1.0 wheel", "sdist-only@2.0 sdist"]
    assert bench.entries()["sdist-only wheel"] == ("skipped", "the release has no wheel")


def test_what_ran_lately_is_passed_over(bench: Bench, index: SweptIndex) -> None:
    index.release("one", "1.0")
    index.release("two", "1.0")
    bench.write("one", "two")
    day = 86_400.0
    with writing(bench.engine) as connection:
        for name, when in (("one", NOW - 3 * day), ("two", NOW - 9 * day)):
            connection.execute(insert(RUNS), run_row(name, when))
    bench.run(filters=Filters(not_run_days=7))
    assert bench.submissions() == ["two@1.0 auto"]
    assert bench.entries()["one auto"] == ("skipped", "it ran in the last 7 days")


def run_row(name: str, created: float, **more: Any) -> dict[str, Any]:
    blank = {column.name: "" for column in RUNS.columns}
    fixed = {"run": f"r-{name}-{created}", "created": created, "name": name, "version": "1.0", "kind": "wheel"}
    return {**blank, **fixed, "reasons": [], "events": {}, "seconds": 1.0, "interrupted": False, **more}


def test_a_budget_leaves_the_rest_to_the_next_sweep(bench: Bench, index: SweptIndex) -> None:
    names = [f"p{number}" for number in range(10)]
    for name in names:
        index.release(name, "1.0")
    bench.write(*names)
    first = bench.run(budget=Budget(submissions=4))
    assert first.state == "budget"
    assert first.counts == {"submitted": 4, "pending": 6}
    second = bench.run(budget=Budget(submissions=4))
    assert second.counts == {"submitted": 4, "pending": 2}
    third = bench.run(budget=Budget(submissions=4))
    assert third.state == "complete"
    # What was left over first, then the file once more from its beginning.
    assert third.counts["submitted"] == 2
    assert [line.split("@")[0] for line in bench.submissions()] == names


def test_a_sweep_waits_while_the_lane_is_full(bench: Bench, index: SweptIndex) -> None:
    for name in ("one", "two", "three"):
        index.release(name, "1.0")
    bench.write("one", "two", "three")
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            """A worker takes one while the sweep waits, and half an hour goes by."""
            assert timeout
            waits.append(timeout)
            bench.now += 1800
            with writing(bench.engine) as connection:
                waiting = select(SUBMISSIONS.c.id).where(SUBMISSIONS.c.state == "queued").limit(1).scalar_subquery()
                connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.id == waiting).values(state="running"))
            return False

    bench.service = Service(
        **{field: getattr(bench.service, field) for field in bench.service.__dataclass_fields__ if field != "stop"},
        stop=Stop(),
    )
    outcome = bench.run(room=1, budget=Budget(minutes=300))
    assert outcome.counts == {"submitted": 3}
    assert len(waits) == 2
    assert any("1 submissions wait" in line for line in bench.told)
    # With less time, it ends, and the next one goes on.
    index.release("four", "1.0")
    index.release("five", "1.0")
    index.release("six", "1.0")
    bench.write("four", "five", "six")
    short = bench.run(room=1, budget=Budget(minutes=45))
    assert short.state == "budget"
    assert short.counts["pending"] >= 1


def test_one_sweep_at_a_time(bench: Bench) -> None:
    run = rows.begin(bench.engine, bench.sweep, "there:9", NOW, 60.0)
    bench.write()
    with pytest.raises(SweepBusyError, match=r"being run by there:9; if that is gone, try again in 60 seconds"):
        bench.run()
    bench.now += 100
    assert bench.run().state == "complete"
    # The other one comes to life again: it finds that it is not its sweep any more.
    assert not rows.hold(bench.engine, run, bench.now, 60.0)
    with pytest.raises(SweepLostError):
        rows.add_page(bench.engine, run, page("pkg:pypi/late"), ("auto",))
    with bench.engine.connect() as connection:
        states = connection.execute(select(SWEEP_RUNS.c.state, SWEEP_RUNS.c.reason).order_by(SWEEP_RUNS.c.id)).all()
    assert [tuple(row) for row in states] == [
        ("interrupted", "there:9 was not heard of any more"),
        ("complete", ""),
    ]


def page(*purls: str) -> Any:
    from sandbox.sweeps.feeds.feed import Entry, Page  # noqa: PLC0415

    return Page(entries=tuple(Entry(purl=purl, why="") for purl in purls), cursor={"at": 1})


def test_a_cursor_is_of_one_feed(bench: Bench) -> None:
    run = rows.begin(bench.engine, bench.sweep, "here", NOW, 60.0)
    rows.add_page(bench.engine, run, page("pkg:pypi/a", "pkg:pypi/a", "pkg:pypi/b"), ("wheel", "sdist"))
    rows.add_page(bench.engine, run, page("pkg:pypi/b"), ("wheel", "sdist"))
    assert len(rows.pending(bench.engine, run, 0, 100)) == 4
    rows.end(bench.engine, run, "complete", "", NOW)
    assert rows.peek(bench.engine, bench.sweep) == {"at": 1}
    other = msgspec.structs.replace(bench.sweep, feed=FeedPlan(kind="file", source="other.txt"))
    assert rows.peek(bench.engine, other) == {}
    assert rows.begin(bench.engine, other, "here", NOW, 60.0).cursor == {}


def test_old_runs_are_forgotten_and_what_they_left_is_not(bench: Bench, index: SweptIndex) -> None:
    index.release("one", "1.0")
    index.release("two", "1.0")
    bench.write("one", "two")
    assert bench.run(budget=Budget(submissions=1)).counts == {"submitted": 1, "pending": 1}
    bench.now += 100 * 86_400
    bench.write()
    assert bench.run().counts == {"submitted": 1}
    assert list(bench.entries()) == ["two auto"]
    with bench.engine.connect() as connection:
        assert len(connection.execute(select(SWEEP_RUNS)).all()) == 1
    assert len(bench.submissions()) == 2


def test_entries_that_are_forgotten_leave_no_key_behind(bench: Bench, index: SweptIndex) -> None:
    index.release("one", "1.0")
    index.release("two", "1.0")
    bench.write("one")
    bench.run()
    with writing(bench.engine) as connection:
        connection.execute(delete(SWEEP_RUNS))
    bench.write("two")
    assert bench.run().counts == {"submitted": 1}
    assert sorted(bench.submissions()) == ["one@1.0 auto", "two@1.0 auto"]


def test_an_index_that_is_away_loses_nothing(bench: Bench, index: SweptIndex) -> None:
    names = [f"p{number}" for number in range(20)]
    for name in names:
        index.release(name, "1.0")
    bench.write(*names)
    index.statuses = {f"/simple/{name}/": 503 for name in names[4:]}
    first = bench.run()
    assert first.state == "failed"
    assert "the index does not answer" in first.reason
    index.statuses = {"/simple/p0/": 503, "/simple/p19/": 503}
    second = bench.run()
    assert second.state == "complete"
    assert second.counts["pending"] == 2
    for _ in range(2):
        bench.run()
    entries = bench.entries()
    assert entries["p19 auto"][0] == "unreadable"
    assert len(bench.submissions()) == 18
    index.statuses = {}
    bench.run()
    assert len(bench.submissions()) == 20


def test_a_feed_that_fails_ends_the_run_and_moves_nothing(bench: Bench) -> None:
    outcome = bench.run()
    assert outcome.state == "failed"
    assert "names.txt cannot be read" in outcome.reason
    assert rows.peek(bench.engine, bench.sweep) == {}


def test_a_dry_run_commits_nothing(bench: Bench, index: SweptIndex) -> None:
    index.release("one", "1.0")
    index.release("two", "1.0")
    bench.write("one", "two", "missing", "x y", "skipped")
    submit(bench.engine, msgspec.structs.replace(REQUEST, package="pkg:pypi/two@1.0"), NOW)
    sweep = msgspec.structs.replace(bench.sweep, filters=Filters(not_names=("skip*",)))
    feed = make_feed(sweep.feed, sweep.directory, bench.service.fetcher, NOW)
    shown = list(preview(bench.service, sweep, feed, REQUEST))
    assert [(it.purl, it.would) for it in shown if isinstance(it, Preview)] == [
        ("pkg:pypi/one@1.0", "submit"),
        ("pkg:pypi/two@1.0", "existing"),
        ("pkg:pypi/missing", "gone"),
        ("pkg:pypi/skipped", "skip"),
    ]
    assert any("1 lines of names.txt could not be read" in it for it in shown if isinstance(it, str))
    with bench.engine.connect() as connection:
        for table in (SWEEPS, SWEEP_RUNS, SWEEP_ENTRIES):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_moment_is_served_once(bench: Bench) -> None:
    sweep = msgspec.structs.replace(bench.sweep, schedule="0 * * * *")
    hour = 3600.0
    assert not take(bench.engine, sweep, NOW)
    assert not take(bench.engine, sweep, NOW + 1)
    due = take(bench.engine, sweep, NOW + 5 * hour)
    assert due == Due(since=NOW, moment=NOW + 5 * hour - NOW % hour)
    assert not take(bench.engine, sweep, NOW + 5 * hour)
    assert take(bench.engine, sweep, NOW + 6 * hour) == (due.moment, due.moment + hour)
    assert not take(bench.engine, bench.sweep, NOW + 6 * hour)


def test_several_timers_serve_a_moment_once(bench: Bench) -> None:
    sweep = msgspec.structs.replace(bench.sweep, schedule="0 * * * *")
    take(bench.engine, sweep, NOW)
    served: list[str] = []
    stop = threading.Event()

    def run(sweep: Sweep, _due: Due) -> None:
        served.append(sweep.name)
        stop.set()

    timers = [
        threading.Thread(target=keep_schedule, args=(bench.engine, lambda: [sweep], run, lambda: NOW + 3700.0, stop))
        for _ in range(3)
    ]
    for timer in timers:
        timer.start()
    for timer in timers:
        timer.join()
    assert served == ["ours"]


COUNT = 120


def test_a_sweep_that_is_killed_again_and_again_submits_each_package_once(
    engine: Engine, database_url: str, index: SweptIndex, tmp_path: Path
) -> None:
    for number in range(COUNT):
        index.release(f"p{number}", "1.0")
    (tmp_path / "names.txt").write_text("\n".join(f"p{number}" for number in range(COUNT)))
    sweeps = tmp_path / "sweeps.yaml"
    sweeps.write_text("sweeps:\n  ours:\n    feed: {kind: file, source: names.txt}\n    budget: {submissions: 9999}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{index.base}/simple",
        "FUMEHOOD_DATABASE": database_url,
        "FUMEHOOD_SWEEPS": str(sweeps),
        "FUMEHOOD_CACHE": str(tmp_path / "cache"),
    }
    code = "from sandbox.entry import main; main()"
    command = [sys.executable, "-c", code, "sweep", "run", "ours", "--format", "json"]
    states = []
    # From the beginning to well within: killed when so many are submitted, asked to stop, then left alone.
    for enough, number in ((1, signal.SIGKILL), (20, signal.SIGKILL), (45, signal.SIGTERM), (70, signal.SIGKILL)):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while process.poll() is None and submitted(engine) < enough:
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate()
        states.append(process.returncode)
        with writing(engine) as connection:  # as if the lease had run out
            connection.execute(
                update(SWEEP_RUNS).where(SWEEP_RUNS.c.state == "running").values(lease_until=time.time() - 1)
            )
    assert states == [-signal.SIGKILL, -signal.SIGKILL, 130, -signal.SIGKILL]
    ended = subprocess.run(command, env=environment, capture_output=True, check=True)
    outcome = json.loads(ended.stdout)
    assert outcome["state"] == "complete"
    with engine.connect() as connection:
        packages = list(connection.scalars(select(SUBMISSIONS.c.package)))
        submissions = connection.execute(
            select(func.count()).where(SWEEP_ENTRIES.c.state == "submitted").select_from(SWEEP_ENTRIES)
        ).scalar_one()
        runs = list(connection.scalars(select(SWEEP_RUNS.c.state).order_by(SWEEP_RUNS.c.id)))
    assert sorted(packages) == sorted(f"pkg:pypi/p{number}@1.0" for number in range(COUNT))
    assert submissions == COUNT
    assert runs == ["interrupted", "interrupted", "interrupted", "interrupted", "complete"]


def submitted(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(SUBMISSIONS)).scalar_one()
