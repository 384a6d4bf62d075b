"""What `fumehood submit` and `fumehood queue ...` do."""

from __future__ import annotations

import getpass
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click
import msgspec
from rich.console import Console

from sandbox.errors import SandboxError, UsageError
from sandbox.queue.connection import connect
from sandbox.queue.enqueue import enqueue_or_leave
from sandbox.queue.lanes import forget
from sandbox.service_commands import prepare
from sandbox.standard_output import write
from sandbox.submissions import control, lanes, query, search, workers
from sandbox.submissions.model import FINAL, LANES, Lane, Request, State
from sandbox.submissions.submit import submit as commit
from sandbox.terminal.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.config import Configuration
    from sandbox.submissions.model import Submission
    from sandbox.submissions.workers import WorkerRow

Format: TypeAlias = Literal["text", "json"]

_STATES: Final = {"failed": 2, "dead": 4, "cancelled": 4}
_NO_WORKER: Final = "no worker: start `fumehood worker`, or `fumehood up`"
_VERDICTS: Final = {"clean": 0, "suspicious": 1, "malicious": 1, "inconclusive": 3}
_INTERRUPTED: Final = 130
_LOOK_S: Final = 0.3


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for; None is the configuration's choice."""

    package: str
    lane: Lane
    artefact: Literal["auto", "wheel", "sdist"]
    profile: str | None
    pod: Literal["auto", "bubblewrap", "docker"] | None
    runtime: str | None
    force: bool


def submit(configuration: Configuration, wish: Wish, *, wait: bool, form: Format) -> int:
    """Commit a submission and queue it; wait for its end when asked to."""
    request = _request(configuration, wish)
    connection = connect(configuration)
    engine = prepare(configuration)
    plan = configuration.queue
    full: dict[Lane, int] = {"escalation": plan.escalations, "manual": plan.manuals, "sweep": plan.sweeps}
    made = commit(engine, request, time.time(), full)
    row = made.submission
    if not enqueue_or_leave(connection, [row]):
        click.echo("Redis does not answer; a worker's reconciler queues it when it does", err=True)
    if not made.created:
        lifted = f", now in the lane {row.lane}" if made.lifted else ""
        click.echo(f"submission {row.id} of the same work answers for it ({row.state}){lifted}", err=True)
    if not wait:
        write([as_json(row) if form == "json" else f"{row.id}\n".encode()])
        return 0
    try:
        ended = _wait(configuration, row.id)
    except KeyboardInterrupt:
        click.echo(
            f"\nno longer waiting; `fumehood queue show {row.id}` says how it goes on, `cancel` ends it", err=True
        )
        return _INTERRUPTED
    write([as_json(ended) if form == "json" else f"{_ended(ended)}\n".encode()])
    return _VERDICTS[ended.verdict] if ended.state == "done" else _STATES[ended.state]


def _request(configuration: Configuration, wish: Wish) -> Request:
    from collector.sigma.load import rules_digest
    from sandbox.evidence import open_evidence
    from sandbox.intake import keep_upload, normalise
    from sandbox.pod.choose import Wanted, check
    from sandbox.queue.work import load_profiles
    from sandbox.resources import rules_directory

    pod = wish.pod or configuration.worker.pod
    runtime = configuration.worker.runtime if wish.runtime is None and wish.pod is None else wish.runtime or ""
    check(Wanted(pod=pod, runtime=runtime))
    profiles = load_profiles(configuration)
    profile = profiles.get(wish.profile) if wish.profile else next(iter(profiles.values()))
    if profile is None:
        raise UsageError(f"the configuration offers no profile {wish.profile!r}; choose one of {', '.join(profiles)}")
    if wish.package.startswith("pkg:"):
        package, upload = normalise(wish.package), ""
    else:
        package, upload = keep_upload(wish.package, wish.artefact, configuration.uploads)
        open_evidence(configuration.evidence).keep_upload(configuration.uploads / upload / package, upload)
    return Request(
        package=package,
        upload=upload,
        profile=profile.name,
        profile_sha256=profile.sha256,
        rules_sha256=rules_digest(rules_directory()),
        lane=wish.lane,
        artefact=wish.artefact,
        pod=pod,
        runtime=runtime,
        submitter=f"{getpass.getuser()}@cli",
        budget=configuration.queue.attempts,
        force=wish.force,
    )


def _wait(configuration: Configuration, identifier: str) -> Submission:
    """Show how far a submission is until it has ended; Ctrl-C ends the waiting alone."""
    engine = prepare(configuration)
    console = Console(stderr=True, highlight=False)
    page, told = Page(console), ""
    row = query.get(engine, identifier)
    if row is not None and row.state == "queued" and not _alive(workers.listed(engine), time.time()):
        page.line(page.text(_NO_WORKER))
    while True:
        row = query.get(engine, identifier)
        if row is None:
            raise SandboxError(f"the submission {identifier} is gone from the database")
        doing = row.progress.get("step", "") if row.state == "running" else row.state
        if doing and doing != told:
            page.line(page.text(f"{identifier}: {doing}"))
            told = doing
        if row.state in FINAL:
            return row
        time.sleep(_LOOK_S)


def health(configuration: Configuration, form: Format) -> int:
    """Print what is as it should be, and what is not."""
    from sandbox.database import open_database
    from sandbox.observability.health import checks
    from sandbox.queue.room import evidence_room_mb

    found = checks(
        open_database(configuration.database),
        connect(configuration) if configuration.redis else None,
        time.time(),
        evidence_room_mb(configuration),
        configuration.worker.free_mb,
    )
    if form == "json":
        write([as_json({"healthy": all(check.ok for check in found), "checks": found})])
    else:
        page = Page(Console(highlight=False))
        page.rows(
            [[page.text("ok" if it.ok else "FAILS"), page.text(it.name), page.text(it.told)] for it in found], indent=0
        )
    return 0 if all(check.ok for check in found) else 1


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
                page.text(f"paused: {paused[lane]}" if lane in paused else ""),
            ]
            for lane in LANES
        ],
        indent=0,
    )
    alive = _alive(working, now)
    hosts, slots = len(alive), sum(row.slots for row in alive)
    counted = f"{hosts} {'worker' if hosts == 1 else 'workers'} with {slots} {'slot' if slots == 1 else 'slots'}"
    page.line(page.text(counted if alive else _NO_WORKER))
    return 0


def _alive(listed: Sequence[WorkerRow], now: float) -> list[WorkerRow]:
    return [row for row in listed if now - row.seen < workers.GONE_S]


def _age(oldest: float | None, now: float) -> str:
    return "" if oldest is None else f"the oldest for {max(0, now - oldest):.0f} s"


def list_submissions(
    configuration: Configuration, lane: Lane | None, state: State | None, limit: int, form: Format
) -> int:
    """Print submissions, the latest first."""
    found = search.search(prepare(configuration), search.Filter(lane=lane, state=state), None, limit)
    if form == "json":
        write([as_json(found)])
        return 0
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
            for row in found
        ],
        indent=0,
    )
    return 0


def show(configuration: Configuration, identifier: str, form: Format) -> int:
    """Print a submission and the attempts at it."""
    engine = prepare(configuration)
    row = _found(configuration, identifier)
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
    engine, connection = prepare(configuration), connect(configuration)
    for identifier in identifiers:
        before = _found(configuration, identifier)
        row = control.cancel(engine, identifier, reason, time.time()) or before
        if before.state == "queued":
            forget(connection, before.lane, before.id, before.attempt + 1)
        say(f"{row.id}: {'is asked to end' if row.state == 'running' else row.state}")
    return 0


def retry(configuration: Configuration, identifiers: Sequence[str]) -> int:
    """Queue again what has ended without a result."""
    engine, connection = prepare(configuration), connect(configuration)
    for identifier in identifiers:
        before = _found(configuration, identifier)
        if before.state not in FINAL - {"done"}:
            raise UsageError(f"{before.id} is {before.state}; only dead, failed and cancelled submissions are retried")
        row = control.retry(engine, identifier, configuration.queue.attempts, time.time()) or before
        enqueue_or_leave(connection, [row])
        say(f"{row.id}: {row.state}")
    return 0


def pause(configuration: Configuration, lane: Lane, reason: str) -> int:
    """Pause a lane."""
    lanes.pause(prepare(configuration), lane, reason, time.time())
    say(f"{lane}: paused; go on with `fumehood queue resume {lane}`")
    return 0


def resume(configuration: Configuration, lane: Lane) -> int:
    """Go on with a lane."""
    lanes.resume(prepare(configuration), lane, time.time())
    say(f"{lane}: goes on")
    return 0


def _found(configuration: Configuration, identifier: str) -> Submission:
    row = query.get(prepare(configuration), identifier)
    if row is None:
        raise UsageError(f"there is no submission {identifier[:64]!a}; `fumehood queue list` lists them")
    return row


def _ended(row: Submission) -> str:
    said = f"{row.state} {row.verdict}".strip()
    return f"{said}: {row.reason}" if row.reason else said


def say(line: str) -> None:
    """Tell what was done, on standard error."""
    sys.stderr.write(f"{line}\n")


def as_json(told: Any) -> bytes:  # noqa: ANN401 - anything that msgspec encodes
    """Encode for people and programs alike."""
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"
