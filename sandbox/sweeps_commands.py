"""What `fumehood sweep ...` does."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click
import msgspec
import structlog
from click.shell_completion import CompletionItem
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from sandbox.config import Configuration
from sandbox.database.schema import SWEEP_RUNS
from sandbox.errors import SandboxError, UsageError
from sandbox.service_commands import prepare
from sandbox.standard_output import write
from sandbox.sweeps import rows, schedule
from sandbox.sweeps.digest.gather import gather
from sandbox.sweeps.digest.publish import publish, tell
from sandbox.sweeps.feeds.make import make_feed
from sandbox.sweeps.load import find_sweeps, load_plans, load_sweeps, pick
from sandbox.sweeps.plan import Digests
from sandbox.sweeps.preview import preview
from sandbox.sweeps.service import open_service, request_for, run_one
from sandbox.terminal.page import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from sandbox.sweeps.plan import Sweep
    from sandbox.sweeps.run import Outcome, Service

_FAULT, _INTERRUPTED = 4, 130
_SETTLING_S: Final = 120.0
"""Ends of the last moments may not be committed yet, and clocks of hosts differ: they are in the next digest."""


_log = structlog.get_logger(__name__)


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said."""

    configuration: Configuration
    sweeps: Path | None = None
    form: Literal["text", "json"] = "text"
    quiet: bool = False

    def load(self) -> dict[str, Sweep]:
        """The sweeps."""
        return load_sweeps(self.file())

    def file(self) -> Path:
        """The file of sweeps."""
        return find_sweeps(os.environ, self.sweeps)


def run_sweep(given: Given, name: str) -> int:
    """Run a sweep, and say how it went."""
    sweep = pick(given.load(), name)
    with _opened(given) as service:
        outcome = run_one(service, given.configuration, sweep)
    if given.form == "json":
        write([msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n"])
    else:
        write([f"{name}: {outcome.state}{_because(outcome)}; {_counted(outcome.counts)}\n".encode()])
    return {"failed": _FAULT, "interrupted": _INTERRUPTED}.get(outcome.state, 0)


def preview_sweep(given: Given, name: str) -> int:
    """Say what a sweep would do."""
    sweep = pick(given.load(), name)
    request = request_for(given.configuration, sweep)
    with _opened(given) as service:
        feed = make_feed(sweep.feed, sweep.directory, service.fetcher, service.clock())
        for shown in preview(service, sweep, feed, request):
            if isinstance(shown, str):
                click.echo(harmless(shown), err=True)
            elif given.form == "json":
                write([msgspec.json.encode(shown) + b"\n"])
            else:
                reason = f"  ({shown.reason})" if shown.reason else ""
                line = f"{shown.would:<10} {shown.artefact:<5} {shown.purl}  {shown.why}{reason}"
                write([harmless(line).encode("utf-8", "replace"), b"\n"])
    return _INTERRUPTED if service.stop.is_set() else 0


def list_sweeps(given: Given) -> int:
    """List sweeps."""
    engine, now = prepare(given.configuration), time.time()
    found = [_listed(engine, sweep, now) for sweep in given.load().values()]
    if given.form == "json":
        write([msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"])
        return 0
    for it in found:
        due = "by hand" if it.due is None else f"due {when(it.due)}"
        last = f"last {when(it.last.started)} {it.last.state}" if it.last else "never run"
        write([f"{it.name:<20} {it.feed:<13} {due:<26} {last}\n".encode()])
        if it.last:
            write([f"{'':<20} {_counted(it.last.counts)}\n".encode()])
    return 0


def keep_schedule(given: Given) -> int:
    """Run sweeps, and make digests, by their schedules until a signal ends it."""
    file = _Reloaded(given.file())
    with _opened(given) as service:

        def run(timed: Sweep | Digests, due: schedule.Due) -> None:
            try:
                service.tell(_served(service, given.configuration, timed, due))
            except (SandboxError, DBAPIError) as error:
                _log.error("what is scheduled could not be done", name=timed.name, error=str(error))

        scheduled = [it.name.removeprefix(":") for it in file() if it.schedule]
        service.tell(f"on schedule: {', '.join(scheduled) or 'nothing'}")
        schedule.keep_schedule(service.engine, file, run, service.clock, service.stop)
    return 0


def _served(service: Service, configuration: Configuration, timed: Sweep | Digests, due: schedule.Due) -> str:
    """Do what a moment of a schedule asks for, and say how it went."""
    if isinstance(timed, Digests):
        made = gather(service.engine, due.since - _SETTLING_S, due.moment - _SETTLING_S)
        places = [str(path) for path in publish(made, timed.place)] if timed.place else []
        if timed.webhook:
            places.append(f"delivery {tell(service.engine, made, timed.webhook, service.clock())}")
        return f"digest: {', '.join(places)}"
    outcome = run_one(service, configuration, timed)
    return f"{timed.name}: {outcome.state}{_because(outcome)}; {_counted(outcome.counts)}"


def complete(sweeps: Path | None, typed: str) -> list[CompletionItem]:
    """Names of sweeps that begin as typed."""
    try:
        names = load_sweeps(find_sweeps(os.environ, sweeps))
    except SandboxError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(typed)]


class _Reloaded:
    """What is scheduled, as the file has it now; as it was before while the file is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._plans = load_plans(path)

    def __call__(self) -> list[Sweep | Digests]:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._plans = load_plans(self._path)
                _log.warning("the file of sweeps has changed and is followed", file=str(self._path))
            except UsageError as error:
                _log.error("the file of sweeps is wrong; what it said before stands", error=str(error))
        digest = self._plans.digest
        return [*self._plans.sweeps.values(), *([digest] if digest else [])]

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


def _opened(given: Given) -> AbstractContextManager[Service]:

    def tell(text: str) -> None:
        if not given.quiet:
            click.echo(harmless(text), err=True)

    return open_service(given.configuration, prepare(given.configuration), os.environ, tell)


class _Last(msgspec.Struct, frozen=True, kw_only=True):
    """The last run of a sweep."""

    run: str
    state: str
    reason: str
    started: float
    ended: float | None
    counts: dict[rows.EntryState, int]


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep as `list` shows it."""

    name: str
    feed: str
    schedule: str | None
    timezone: str
    due: float | None
    last: _Last | None


def _listed(engine: Engine, sweep: Sweep, now: float) -> _Listed:
    table = SWEEP_RUNS.c
    with engine.connect() as connection:
        row = connection.execute(
            select(SWEEP_RUNS).where(table.sweep == sweep.name).order_by(table.started.desc()).limit(1)
        ).first()
        last = (
            None
            if row is None
            else _Last(
                run=row.id,
                state=row.state,
                reason=row.reason,
                started=row.started,
                ended=row.ended,
                counts=rows.counts(connection, row.id),
            )
        )
    return _Listed(
        name=sweep.name,
        feed=sweep.feed.kind,
        schedule=sweep.schedule,
        timezone=sweep.timezone,
        due=next(schedule.moments(sweep, now), None),
        last=last,
    )


def _because(outcome: Outcome) -> str:
    return f" ({harmless(outcome.reason)})" if outcome.reason else ""


def _counted(counts: Mapping[rows.EntryState, int]) -> str:
    names: dict[rows.EntryState, str] = {
        "submitted": "submitted",
        "existing": "known already",
        "skipped": "passed over",
        "gone": "gone",
        "unreadable": "unreadable",
        "pending": "left for the next run",
    }
    return ", ".join(f"{counts[state]} {words}" for state, words in names.items() if counts.get(state)) or "no packages"


def when(epoch: float) -> str:
    """An instant for people."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")
