"""What `fumehood sweep check` does."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Final

from sandbox.database import open_database
from sandbox.errors import UsageError
from sandbox.profile import load_profile
from sandbox.standard_output import write
from sandbox.sweeps import schedule
from sandbox.sweeps.feeds.feed import FeedError
from sandbox.sweeps.feeds.make import make_feed
from sandbox.sweeps.load import load_plans
from sandbox.sweeps.service import no_profile, open_service
from sandbox.sweeps_commands import when
from sandbox.terminal.page import harmless
from sandbox.webhooks.receivers import load_receivers, receiver_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sandbox.sweeps.plan import Digests, Plans, Sweep
    from sandbox.sweeps.run import Service
    from sandbox.sweeps_commands import Given

_SHOWN_MOMENTS: Final = 3
_INTERRUPTED: Final = 130


def check_sweeps(given: Given, *, offline: bool) -> int:
    """Check the file of sweeps, and what it needs; each feed is read a little, as a sweep's begin would.

    Args:
        given: What the command line said.
        offline: Whether feeds are left unread.
    """
    plans, wrong = load_plans(given.file()), 0
    offered = {load_profile(name).name for name in given.configuration.worker.profiles}
    with nullcontext() if offline else _opened(given) as service:
        for name, sweep in plans.sweeps.items():
            write([f"{name}: {sweep.feed.kind}, {_due(sweep)}\n".encode()])
            lacks = list(_lacks(sweep, offered))
            if service is not None and not lacks:
                lacks = list(_read(service, sweep))
            if service is not None and service.stop.is_set():
                return _INTERRUPTED
            wrong += _told(lacks)
    wrong += _digest(plans, given)
    many = f"{len(plans.sweeps)} {'sweep' if len(plans.sweeps) == 1 else 'sweeps'}"
    well = "" if wrong else ", all well; no feed was read" if offline else ", all well"
    write([f"{given.file()}: {many}{well}\n".encode()])
    return 1 if wrong else 0


def _opened(given: Given) -> AbstractContextManager[Service]:
    # The database is not asked, and not made.
    engine = open_database(given.configuration.database)
    return open_service(given.configuration, engine, os.environ, lambda _: None)


def _told(wrong: list[str]) -> int:
    for line in wrong:
        write([f"  wrong: {harmless(line)}\n".encode()])
    return len(wrong)


def _digest(plans: Plans, given: Given) -> int:
    if not plans.digest:
        return 0
    places = " and ".join(str(place) for place in (plans.digest.place, plans.digest.webhook) if place)
    write([f"digest: to {places}, {_due(plans.digest)}\n".encode()])
    if plans.digest.webhook:
        try:
            receiver_of(load_receivers(given.configuration.webhooks), plans.digest.webhook)
        except UsageError as error:
            return _told([str(error)])
    return 0


def _read(service: Service, sweep: Sweep) -> Iterator[str]:
    """Read the first page of a feed, and tell what it gives; what is wrong with it is yielded. Nothing is kept."""
    feed = make_feed(sweep.feed, sweep.directory, service.fetcher, service.clock())
    try:
        page = next(feed.pages({}), None)
    except FeedError as error:
        yield str(error)
        return
    count = len(page.entries) if page else 0
    write([f"  reads: {count} {'package' if count == 1 else 'packages'} at first\n".encode()])
    for note in page.notes if page else ():
        write([f"  note: {harmless(note)}\n".encode()])


def _lacks(sweep: Sweep, offered: set[str]) -> Iterator[str]:
    """What a sweep needs and has not."""
    if sweep.profile not in offered:
        yield no_profile(sweep, offered)
    for named in (sweep.feed.source, sweep.feed.watch):
        if named and "://" not in named and not (sweep.directory / named).exists():
            yield f"there is no {sweep.directory / named}"


def _due(timed: Sweep | Digests) -> str:
    moments = [when(moment) for moment in islice(schedule.moments(timed, time.time()), _SHOWN_MOMENTS)]
    return f"due {', '.join(moments)}" if moments else "by hand"
