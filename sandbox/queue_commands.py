"""What `fumehood queue ...` does."""

from __future__ import annotations

import getpass
import os
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec
from redis.exceptions import RedisError
from rich.console import Console

from sandbox.errors import UsageError
from sandbox.evidence import open_evidence
from sandbox.queue.connection import connect_if_any
from sandbox.queue.enqueue import enqueue
from sandbox.queue.lanes import forget
from sandbox.service_commands import prepare
from sandbox.standard_output import as_json, say, write
from sandbox.submissions import control, lanes, query, search, uploads, workers
from sandbox.submissions.model import FINAL, LANES, Lane, State
from sandbox.terminal.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from sandbox.config import Configuration
    from sandbox.submissions.model import Submission

Format: TypeAlias = Literal["text", "json"]

NO_WORKER: Final = "no worker: start `fumehood worker`, or `fumehood up`"


def status(configuration: Configuration, form: Format) -> int:
    """Print lanes and workers."""
    engine, now = prepare(configuration), time.time()
    depths, paused, working = query.depths(engine), lanes.paused(engine), workers.listed(engine)
    if form == "json":
        told = {
            "lanes": {
                lane: {
                    "queued": depth.queued,
                    "running": depth.running,
                    "oldest_seconds": None if depth.oldest is None else round(now - depth.oldest, 1),
                    "paused": lane in paused,
                    "reason": paused.get(lane, ""),
                }
                for lane, depth in depths.items()
            },
            "workers": [msgspec.structs.asdict(row) for row in working],
        }
        write([as_json(told)])
        return 0
    page = Page(Console(highlight=False))
    page.rows(
        [
            [
                page.text(lane),
                page.text(f"{depths[lane].queued} waiting"),
                page.text(f"{depths[lane].running} running"),
                page.text(_age(depths[lane].oldest, now)),
                page.text(paused.get(lane, "")),
            ]
            for lane in LANES
        ],
        indent=0,
    )
    alive = workers.alive(working, now)
    hosts, slots = len(alive), sum(row.slots for row in alive)
    counted = f"{hosts} {'worker' if hosts == 1 else 'workers'} with {slots} {'slot' if slots == 1 else 'slots'}"
    page.line(page.text(counted if alive else NO_WORKER))
    return 0


def _age(oldest: float | None, now: float) -> str:
    return "" if oldest is None else f"the oldest for {max(0, now - oldest):.0f} s"


def list_submissions(
    configuration: Configuration, lane: Lane | None, state: State | None, limit: int, form: Format
) -> int:
    """Print submissions, the latest first."""
    rows = search.search(prepare(configuration), search.Filter(lane=lane, state=state), None, limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    if more:
        say(f"there are more than these {limit}: see --limit, --lane and --state")
    if form == "json":
        write([as_json(rows)])
        return 0
    if not rows:
        say("no submission is like that" if lane or state else "nothing was submitted yet: fumehood submit PACKAGE")
    page = Page(Console(highlight=False))
    page.rows(
        [
            [
                page.text(row.id),
                page.text(row.lane),
                page.text(row.state),
                page.text(row.verdict),
                page.text(f"{row.package}{f'  ({row.reason})' if row.reason else ''}"),
            ]
            for row in rows
        ],
        indent=0,
    )
    return 0


def show(configuration: Configuration, identifier: str, form: Format) -> int:
    """Print a submission and the attempts at it."""
    engine = prepare(configuration)
    row = found(configuration, identifier)
    tried = search.attempts_of(engine, row.id)
    if form == "json":
        write([as_json({**msgspec.structs.asdict(row), "attempts": tried})])
        return 0
    page = Page(Console(highlight=False))
    page.line(page.text((row.id, "bold"), f"  {row.package}"))
    facts = {
        "state": f"{row.state} {row.verdict}".strip(),
        "reason": row.reason,
        "lane": row.lane,
        "profile": row.profile,
        "artefact": row.sha256 or row.artefact,
        "pod": f"{row.pod} {row.runtime}",
        "run": row.run or "",
        "submitted by": row.submitter,
        "rerun of": row.origin or "",
        "now": " ".join(str(row.progress.get(key, "")) for key in ("step", "note")) if row.state == "running" else "",
    }
    page.rows([[page.text(name), page.text(fact.strip())] for name, fact in facts.items() if fact.strip()])
    for it in tried:
        took = f"{it.ended - it.started:.0f} s" if it.ended is not None else "goes on"
        page.line(page.text(f"attempt {it.attempt}: {it.outcome}, {took}, {it.owner}  {it.reason}".rstrip()), indent=1)
    return 0


def cancel(configuration: Configuration, identifiers: Sequence[str], reason: str) -> int:
    """Cancel submissions."""
    engine, connection = prepare(configuration), connect_if_any(configuration)
    said = f"cancelled by {user()}" + (f": {reason}" if reason else "")
    for before in [found(configuration, identifier) for identifier in identifiers]:
        row = control.cancel(engine, before.id, said, time.time()) or before
        if before.state == "queued" and connection is not None:
            forget(connection, before.lane, before.id, before.attempt + 1)
        over = f"nothing to cancel, it is {row.state}" if before.state in FINAL else row.state
        say(f"{row.id}: {'is asked to end' if row.state == 'running' else over}")
    return 0


def retry(configuration: Configuration, identifiers: Sequence[str]) -> int:
    """Queue again what has ended without a result."""
    engine, connection = prepare(configuration), connect_if_any(configuration)
    chosen = [found(configuration, identifier) for identifier in identifiers]
    for before in chosen:
        if before.state not in FINAL - {"done"}:
            advice = f"`fumehood queue rerun {before.id}` runs the same again"
            raise UsageError(
                f"{before.id} is {before.state}; only dead, failed and cancelled submissions are retried ({advice})"
            )
        if before.upload:
            uploads.want_again(engine, open_evidence(configuration.evidence), before.upload, time.time())
    for before in chosen:
        row = control.retry(engine, before.id, configuration.queue.attempts, time.time()) or before
        say(f"{row.id}: {row.state}")
        hand_over(connection, row)
    return 0


def pause(configuration: Configuration, lane: Lane, reason: str) -> int:
    """Pause a lane."""
    said = f"paused by {user()}" + (f": {reason}" if reason else "")
    lanes.pause(prepare(configuration), lane, said, time.time())
    say(f"{lane}: paused; go on with `fumehood queue resume {lane}`")
    return 0


def resume(configuration: Configuration, lane: Lane) -> int:
    """Go on with a lane."""
    lanes.resume(prepare(configuration), lane, time.time())
    say(f"{lane}: goes on")
    return 0


def found(configuration: Configuration, identifier: str) -> Submission:
    """The submission of this id.

    Raises:
        UsageError: There is none.
    """
    row = query.get(prepare(configuration), identifier)
    if row is None:
        raise UsageError(f"there is no submission {identifier[:64]!a}; `fumehood queue list` lists them")
    return row


def hand_over(connection: Redis | None, row: Submission) -> None:
    """Queue a committed submission; where that cannot be done, say what it waits for. It is not lost either way."""
    if connection is None:
        say(f"{row.id} is committed; no Redis runs here yet, and it waits for one: `fumehood up` starts it")
        return
    try:
        enqueue(connection, [row])
    except RedisError:
        say(f"{row.id} is committed; Redis does not answer, and a worker queues it as soon as it does")


def user() -> str:
    """Who gives a command, for people to read."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In containers a user often has a number alone.
        return f"uid {os.getuid()}"
