"""What became of submissions, and what people do to them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from sandbox.api import cursors
from sandbox.api.access import Analyst, Submitter
from sandbox.api.intake import found, request_of, require_upload, taken, unprocessable
from sandbox.api.models import (
    Attempt,
    Identifier,
    Options,
    Reason,
    Rerun,
    Retry,
    Submission,
    SubmissionPage,
    SubmissionQuery,
    Submitted,
)
from sandbox.api.problems import NothingNewError, ProblemError, documented, not_found
from sandbox.api.service import ServiceNeeded
from sandbox.api.submit import IdempotencyKey, answered
from sandbox.api.watch import Watcher
from sandbox.errors import IntakeError
from sandbox.submissions import control, model, search
from sandbox.submissions.model import FINAL
from sandbox.submissions.rerun import Changes, changed

ROUTER: Final = APIRouter(prefix="/submissions", tags=["submissions"])

SubmissionId = Annotated[Identifier, Path(alias="id")]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=64, description="The last event that was seen")
]


@ROUTER.get("", responses=documented(HTTPStatus.BAD_REQUEST))
def search_submissions(
    query: Annotated[SubmissionQuery, Query()], service: ServiceNeeded, _caller: Analyst
) -> SubmissionPage:
    """List submissions, the newest first, a page at a time."""
    wanted = search.Filter(
        state=query.state,
        lane=query.lane,
        verdict=query.verdict,
        package=query.package,
        sha256=query.sha256,
        submitter=query.submitter,
        origin=query.origin,
        since=query.since.timestamp() if query.since else None,
        until=query.until.timestamp() if query.until else None,
    )
    rows = search.search(service.engine, wanted, cursors.decode(query.cursor), query.limit + 1)
    page = rows[: query.limit]
    more = cursors.encode((page[-1].created, page[-1].id)) if len(rows) > query.limit else None
    return SubmissionPage(items=[Submission.of(row) for row in page], next=more)


@ROUTER.get("/{id}", responses=documented(HTTPStatus.NOT_FOUND))
def show(submission: SubmissionId, service: ServiceNeeded, _caller: Submitter) -> Submission:
    """What became of a submission so far."""
    return Submission.of(found(service, submission))


@ROUTER.get("/{id}/attempts", responses=documented(HTTPStatus.NOT_FOUND))
def attempts(submission: SubmissionId, service: ServiceNeeded, _caller: Analyst) -> list[Attempt]:
    """Every attempt at a submission, the first first."""
    found(service, submission)
    return [Attempt.of(row) for row in search.attempts_of(service.engine, submission)]


async def _watchable(
    submission: SubmissionId,
    service: ServiceNeeded,
    request: Request,
    caller: Submitter,
    last_event_id: LastEventId = None,
) -> AsyncIterator[model.Submission]:
    """Everything that can be answered with a status is answered before the stream begins.

    Not by a thread, so that nobody comes between the look for a place and its taking; it is kept until the answer ends.
    """
    row = await run_in_threadpool(found, service, submission)
    if row.state in FINAL and last_event_id == _event(row).id:
        # Who has seen the end and comes again is a browser's client, which only this stops.
        raise NothingNewError
    watcher: Watcher = request.app.state.watcher
    with watcher.place(caller.key):
        yield row


@ROUTER.get(
    "/{id}/events",
    response_class=EventSourceResponse,
    responses={
        204: {"description": "The end was seen already"},
        **documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    },
)
async def events(
    row: Annotated[model.Submission, Depends(_watchable)],
    service: ServiceNeeded,
    request: Request,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """Wait: an event `progress` for each change, with the submission as it then is, and one `end`, then no more.

    Each event tells everything, so that a client that missed some has lost nothing. Comments keep the connection alive.
    """
    watcher: Watcher = request.app.state.watcher
    told = last_event_id
    first = _event(row)
    if first.id != told:
        yield first
        told = first.id
    # Closed at once when whoever waits has left, not when somebody collects what is left over.
    async with aclosing(watcher.changes(row)) as changes:
        async for now in changes:
            event = _event(now)
            if event.id != told:
                yield event
                told = event.id
            if service.stopping():
                return


@ROUTER.post("/{id}/cancel", responses=documented(HTTPStatus.NOT_FOUND))
def cancel(
    submission: SubmissionId, service: ServiceNeeded, caller: Submitter, why: Reason | None = None
) -> Submission:
    """Cancel what waits, at once, or what runs, within seconds. Those with the role `submit` cancel only their own."""
    row = found(service, submission)
    if row.submitter != caller.name and not caller.may("analyst"):
        raise ProblemError(HTTPStatus.FORBIDDEN, "forbidden", "this was submitted by somebody else")
    said = f"cancelled by {caller.name}" + (f": {why.reason}" if why and why.reason else "")
    changed = control.cancel(service.engine, submission, said, service.clock())
    if changed is None:
        raise not_found("submission")
    return Submission.of(changed)


@ROUTER.post("/{id}/retry", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def retry(submission: SubmissionId, service: ServiceNeeded, _caller: Analyst, how: Retry | None = None) -> Submission:
    """Queue a dead, failed or cancelled submission again."""
    row = found(service, submission)
    if row.state not in FINAL or row.state == "done":
        detail = f"it is {row.state}; only what is dead, failed or cancelled is retried (rerun what is done)"
        raise ProblemError(HTTPStatus.CONFLICT, "state", detail)
    require_upload(service, row)
    more = how.attempts if how and how.attempts else service.configuration.queue.attempts
    changed = control.retry(service.engine, submission, more, service.clock())
    if changed is None:
        raise not_found("submission")
    if changed.state == "queued":
        service.enqueue(changed)
    return Submission.of(changed)


@ROUTER.post(
    "/{id}/rerun",
    status_code=HTTPStatus.CREATED,
    responses={
        200: {"model": Submitted, "description": "An earlier submission answers for the same work"},
        **documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    },
)
def rerun(  # noqa: PLR0913, PLR0917 - who asks, for what
    submission: SubmissionId,
    wanted: Rerun,
    service: ServiceNeeded,
    caller: Analyst,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Submitted:
    """Run the same again, otherwise; the new submission names this one as its origin."""
    row = found(service, submission)
    changes = Changes(profile=wanted.profile, artefact=wanted.artefact, pod=wanted.pod, runtime=wanted.runtime)
    try:
        how = changed(row, changes)
    except IntakeError as error:
        raise unprocessable("artefact", error) from error
    options = Options(
        lane=wanted.lane,
        profile=how.profile,
        artefact=how.artefact,
        pod=how.pod,
        runtime=how.runtime,
        webhook=wanted.webhook,
        force=wanted.force,
    )
    request = request_of(service, caller, options, row.package, upload=row.upload, origin=row.id)
    require_upload(service, row)
    return answered(response, taken(service, request, idempotency_key))


def _event(row: model.Submission) -> ServerSentEvent:
    told = Submission.of(row).model_dump_json()
    return ServerSentEvent(
        raw_data=told,
        event="end" if row.state in FINAL else "progress",
        id=hashlib.sha256(told.encode()).hexdigest()[:16],
    )
