"""Runs one sweep: a page of its feed at a time, each package looked up, filtered and submitted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from collector.store.schema import RUNS
from sandbox.errors import LaneFullError, SweepLostError
from sandbox.registry.errors import NotFoundError, RegistryError
from sandbox.submissions.submit import submit
from sandbox.sweeps import rows
from sandbox.sweeps.feeds.feed import FeedError
from sandbox.sweeps.feeds.names import parts_of
from sandbox.sweeps.filters import decide, refuses_name
from sandbox.sweeps.lease import LEASE_S, Lease
from sandbox.sweeps.look import Lookup
from sandbox.sweeps.rows import Settled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sqlalchemy import Engine

    from sandbox.registry.fetch import Fetcher
    from sandbox.submissions.model import Request, Submission
    from sandbox.sweeps.feeds.feed import Feed
    from sandbox.sweeps.look import Looked
    from sandbox.sweeps.plan import Sweep

_BATCH: Final = 16
_TRIES: Final = 3
"""Sweeps in which the index did not answer about a package, before it is given up."""
_PAUSE_S: Final = 5.0
"""Between two looks at a lane that is full."""
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What sweeps work with."""

    engine: Engine
    fetcher: Fetcher
    owner: str
    """Who we are, e.g. `host:1234`."""
    stop: threading.Event
    """Set when the sweep is to end; it does so between two packages."""
    clock: Callable[[], float]
    """UTC seconds since the epoch."""
    announce: Callable[[Submission], None]
    """Tells workers of a committed submission; never raises."""
    tell: Callable[[str], None]
    """Shows a line to whoever watches."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of a sweep ended."""

    state: rows.Ending
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a sweep came to."""

    run: str
    state: rows.Ending
    reason: str
    counts: dict[rows.EntryState, int]
    """Packages by what became of them."""


def run_sweep(service: Service, sweep: Sweep, feed: Feed, request: Request, room: int) -> Outcome:
    """Run a sweep until its feed has no more, its budget is used up, or it is asked to stop.

    Args:
        service: Database, index, and the rest.
        sweep: What is wanted.
        feed: Its feed.
        request: What all of its submissions have in common.
        room: How many submissions may wait in the lane; with more, the sweep waits.

    Raises:
        SweepBusyError: It is running already.
        SweepLostError: Another process took it over; nothing was lost.
    """
    run = rows.begin(service.engine, sweep, service.owner, service.clock(), LEASE_S)
    ended = Ended(state="interrupted", reason="it was broken off")
    try:
        with Lease(service.engine, run, service.clock) as lease, Lookup(service.fetcher) as lookup:
            ended = _Sweeping(service, sweep, request, room, run, lease, lookup).through(feed)
    except FeedError as error:
        ended = Ended(state="failed", reason=str(error))
        if service.stop.is_set():
            ended = Ended(state="interrupted", reason="it was asked to stop")
    finally:
        # A database that is away: the lease runs out, and the next run goes on.
        with suppress(DBAPIError):
            rows.end(service.engine, run, ended.state, ended.reason, service.clock())
    with service.engine.connect() as connection:
        counted = rows.counts(connection, run.id)
    return Outcome(run=run.id, state=ended.state, reason=ended.reason, counts=counted)


class _Sweeping:
    """One run under way."""

    def __init__(  # noqa: PLR0913, PLR0917 - what `run_sweep` was given and made
        self,
        service: Service,
        sweep: Sweep,
        request: Request,
        room: int,
        run: rows.SweepRun,
        lease: Lease,
        lookup: Lookup,
    ) -> None:
        self._service = service
        self._sweep = sweep
        self._request = request
        self._room = min(room, sweep.budget.waiting or room)
        self._run = run
        self._lease = lease
        self._lookup = lookup
        self._until = service.clock() + sweep.budget.minutes * 60.0
        self._submitted = 0
        self._after = 0
        """Entry up to which each was looked at: what the index does not answer about is left to the next sweep."""

    def through(self, feed: Feed) -> Ended:
        """What was left over first, then the feed's pages."""
        ended = self._settle_pending()
        pages = feed.pages(self._run.cursor)
        while ended is None:
            page = next(pages, None)
            if page is None:
                return Ended(state="complete")
            fresh = rows.add_page(self._service.engine, self._run, page, self._sweep.filters.artefacts)
            self._service.tell(f"{self._sweep.name}: {len(page.entries)} packages named, {fresh} new in this sweep")
            for note in page.notes:
                self._service.tell(f"{self._sweep.name}: {note}")
            ended = self._settle_pending() or self._over()
        return ended

    def _over(self) -> Ended | None:
        """Why no further package is looked at, if so."""
        budget = self._sweep.budget
        if self._lease.lost.is_set():
            raise SweepLostError(f"another process has taken over the sweep {self._sweep.name!r}; this one stops")
        if self._service.stop.is_set():
            return Ended(state="interrupted", reason="it was asked to stop")
        if self._submitted >= budget.submissions:
            return Ended(state="budget", reason=f"{budget.submissions} submissions; the next sweep goes on from here")
        if self._service.clock() >= self._until:
            return Ended(state="budget", reason=f"{budget.minutes} minutes; the next sweep goes on from here")
        return None

    def _settle_pending(self) -> Ended | None:
        while batch := rows.pending(self._service.engine, self._run, self._after, _BATCH):
            if ended := self._over():
                return ended
            wanted = [entry.purl for entry in batch if not refuses_name(entry.purl, self._sweep.filters)]
            projects = self._lookup.ask(parts_of(purl)[0] for purl in wanted)
            for entry in batch:
                if ended := self._over():
                    return ended
                settled = self._settled(entry, projects)
                if settled is None:
                    return self._over()
                rows.settle(self._service.engine, self._run, entry, settled)
                self._after = entry.id
        return None

    def _settled(self, entry: rows.Pending, projects: dict[str, Looked]) -> Settled | None:
        """What becomes of a package; `None` when the sweep ends while it waits for room."""
        filters = self._sweep.filters
        if reason := refuses_name(entry.purl, filters):
            return Settled(state="skipped", reason=reason)
        looked = projects[parts_of(entry.purl)[0]]
        if isinstance(looked, NotFoundError):
            return Settled(state="unreadable", reason=str(looked))
        if isinstance(looked, RegistryError):
            tries = entry.tries + 1
            return Settled(state="pending" if tries < _TRIES else "unreadable", reason=str(looked), tries=tries)
        decision = decide(entry.purl, entry.artefact, looked, filters, self._service.clock())
        if decision.state != "run":
            return Settled(state=decision.state, reason=decision.reason, release=decision.release)
        if reason := ran_lately(self._service.engine, decision.release, entry.artefact, self._sweep, self._run.started):
            return Settled(state="skipped", reason=reason, release=decision.release)
        return self._submit(entry, decision.release)

    def _submit(self, entry: rows.Pending, release: str) -> Settled | None:
        # The key tells our own submission from an earlier one's when we were killed between it and its entry.
        key = f"sweep-entry-{entry.id}"
        request = msgspec.structs.replace(self._request, package=release, artefact=entry.artefact, idempotency_key=key)
        told = False
        while True:
            try:
                made = submit(self._service.engine, request, self._service.clock(), {"sweep": self._room})
            except LaneFullError:
                if not told:
                    self._service.tell(f"{self._sweep.name}: {self._room} submissions wait; waiting for room")
                told = True
                self._service.stop.wait(_PAUSE_S)
                if self._over():
                    return None
                continue
            if made.ours:
                self._submitted += 1
                self._service.announce(made.submission)
            return Settled(
                state="submitted" if made.ours else "existing",
                reason="" if made.ours else "an earlier submission is or was for the same work",
                release=made.submission.package,
                submission=made.submission.id,
            )


def ran_lately(engine: Engine, release: str, artefact: str, sweep: Sweep, now: float) -> str:
    """Why a release is passed over that ran in the last days; empty when it did not, or that does not matter."""
    days = sweep.filters.not_run_days
    if days is None:
        return ""
    name, version = parts_of(release)
    same = [RUNS.c.name == name, RUNS.c.version == version, RUNS.c.created > now - days * _DAY]
    if artefact != "auto":
        same.append(RUNS.c.kind == artefact)
    with engine.connect() as connection:
        latest = connection.execute(select(func.max(RUNS.c.created)).where(*same)).scalar_one()
    return "" if latest is None else f"it ran in the last {days} days"
