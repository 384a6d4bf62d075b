"""What `fumehood submit` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from collector.sigma.load import rules_digest
from sandbox.database.faults import passes
from sandbox.errors import SandboxError, UsageError
from sandbox.evidence import open_evidence
from sandbox.intake import keep_upload, normalise
from sandbox.pod.choose import Wanted, check
from sandbox.queue.connection import connect_if_any
from sandbox.queue.work import load_profiles
from sandbox.queue_commands import NO_WORKER, found, hand_over, user
from sandbox.resources import rules_directory
from sandbox.service_commands import prepare
from sandbox.standard_output import as_json, say, write
from sandbox.submissions import query, uploads, workers
from sandbox.submissions.model import FINAL, Lane, Request
from sandbox.submissions.rerun import Changes, changed
from sandbox.submissions.submit import submit as commit
from sandbox.terminal.page import Page, harmless

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sandbox.config import Configuration
    from sandbox.submissions.model import Submission

_STATES: Final = {"failed": 2, "dead": 4, "cancelled": 4}
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


def submit(configuration: Configuration, wish: Wish, *, wait: bool, form: Literal["text", "json"]) -> int:
    """Commit a submission and queue it; wait for its end when asked to."""
    engine = prepare(configuration)
    return _taken(configuration, engine, _request(configuration, engine, wish), wait=wait, form=form)


def rerun(  # noqa: PLR0913 - the options of the command
    configuration: Configuration,
    identifier: str,
    changes: Changes,
    lane: Lane,
    *,
    force: bool,
    wait: bool,
    form: Literal["text", "json"],
) -> int:
    """Submit what was submitted before, with something changed; the new submission names its origin."""
    origin = found(configuration, identifier)
    how = changed(origin, changes)
    wish = Wish(
        package=how.package,
        lane=lane,
        artefact=how.artefact,
        profile=how.profile,
        pod=how.pod,
        runtime=how.runtime,
        force=force,
    )
    request = msgspec.structs.replace(_checked(configuration, wish), upload=origin.upload, origin=origin.id)
    engine = prepare(configuration)
    if origin.upload:
        uploads.want_again(engine, open_evidence(configuration.evidence), origin.upload, time.time())
    return _taken(configuration, engine, request, wait=wait, form=form)


def _taken(
    configuration: Configuration, engine: Engine, request: Request, *, wait: bool, form: Literal["text", "json"]
) -> int:
    connection = connect_if_any(configuration)
    plan = configuration.queue
    full: dict[Lane, int] = {"escalation": plan.escalations, "manual": plan.manuals, "sweep": plan.sweeps}
    made = commit(engine, request, time.time(), full)
    row = made.submission
    if not made.created:
        lifted = f", now in the lane {row.lane}" if made.lifted else ""
        say(f"submission {row.id} of the same work answers for it ({row.state}){lifted}")
    if made.created or made.lifted:
        hand_over(connection, row)
    if not wait:
        write([as_json(row) if form == "json" else f"{row.id}\n".encode()])
        return 0
    try:
        ended = _wait(configuration, row.id)
    except KeyboardInterrupt:
        say(f"\nno longer waiting; `fumehood queue show {row.id}` says how it goes on, `cancel` ends it")
        return _INTERRUPTED
    write([as_json(ended) if form == "json" else f"{_ended(ended)}\n".encode()])
    if ended.run and form == "text":
        say(f"what it did: fumehood store show {ended.run}")
    return _VERDICTS[ended.verdict] if ended.state == "done" else _STATES[ended.state]


def _request(configuration: Configuration, engine: Engine, wish: Wish) -> Request:
    checked = _checked(configuration, wish)
    if wish.package.startswith("pkg:"):
        return msgspec.structs.replace(checked, package=normalise(wish.package))
    package, upload = keep_upload(
        wish.package, wish.artefact, configuration.uploads, lambda sha256: uploads.want(engine, sha256, time.time())
    )
    open_evidence(configuration.evidence).keep_upload(configuration.uploads / upload / package, upload)
    return msgspec.structs.replace(checked, package=package, upload=upload)


def _checked(configuration: Configuration, wish: Wish) -> Request:
    """What is asked for, with the configuration's defaults; of the package nothing is looked at yet."""
    pod = wish.pod or configuration.worker.pod
    runtime = configuration.worker.runtime if wish.runtime is None and wish.pod is None else wish.runtime or ""
    check(Wanted(pod=pod, runtime=runtime))
    profiles = load_profiles(configuration)
    profile = profiles.get(wish.profile) if wish.profile else next(iter(profiles.values()))
    if profile is None:
        raise UsageError(f"the configuration offers no profile {wish.profile!r}; choose one of {', '.join(profiles)}")
    return Request(
        package=wish.package,
        profile=profile.name,
        profile_sha256=profile.sha256,
        rules_sha256=rules_digest(rules_directory()),
        lane=wish.lane,
        artefact=wish.artefact,
        pod=pod,
        runtime=runtime,
        submitter=f"{user()}@cli",
        budget=configuration.queue.attempts,
        force=wish.force,
    )


def _wait(configuration: Configuration, identifier: str) -> Submission:
    """Show how far a submission is until it has ended; Ctrl-C ends the waiting alone."""
    engine = prepare(configuration)
    page, told = Page(Console(stderr=True, highlight=False)), ""
    if not workers.alive(workers.listed(engine), time.time()):
        page.line(page.text(NO_WORKER))
    while True:
        try:
            row = query.get(engine, identifier)
        except DBAPIError as error:
            if not passes(error):
                raise
            doing = "the database does not answer; waiting for it"
        else:
            if row is None:
                raise SandboxError(f"the submission {identifier} is gone from the database")
            if row.state in FINAL:
                return row
            doing = str(row.progress.get("step", "")) if row.state == "running" else row.state
        if doing and doing != told:
            page.line(page.text(f"{identifier}: {doing}"))
            told = doing
        time.sleep(_LOOK_S)


def _ended(row: Submission) -> str:
    said = f"{row.state} {row.verdict}".strip()
    return harmless(f"{said}: {row.reason}" if row.reason else said)
