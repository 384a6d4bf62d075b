"""Submit, and see what became of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Response

from sandbox.api.access import Caller, Submitter
from sandbox.api.models import Identifier, Options, Submission, SubmissionRequest, Submitted
from sandbox.api.problems import ProblemError, documented, not_found
from sandbox.api.service import Service, ServiceNeeded
from sandbox.errors import IntakeError, LaneFullError, WebhookError
from sandbox.intake import normalise
from sandbox.submissions import model, query
from sandbox.submissions.submit import identity, submit
from sandbox.webhooks.receivers import receiver_of

ROUTER: Final = APIRouter(prefix="/submissions", tags=["submissions"])
_RETRY_S: Final = 60

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern="^[!-~]+$",
        description="The same key again is the same request: it is answered by the same submission",
    ),
]
SubmissionId = Annotated[Identifier, Path(alias="id")]


@ROUTER.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses={
        200: {"model": Submitted, "description": "An earlier submission answers for the same work"},
        **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS),
    },
)
def create(
    wanted: SubmissionRequest,
    service: ServiceNeeded,
    caller: Submitter,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Submitted:
    """Submit a package of the index. It is committed when the answer comes, and will end in exactly one final state."""
    try:
        package = normalise(wanted.purl)
    except IntakeError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "package", str(error)) from error
    made = taken(service, request_of(service, caller, wanted, package=package, key=idempotency_key))
    response.headers["Location"] = f"/api/v1/submissions/{made.submission.id}"
    if not made.created:
        response.status_code = HTTPStatus.OK
    return Submitted.answering(made)


@ROUTER.get("/{id}", responses=documented(HTTPStatus.NOT_FOUND))
def show(submission: SubmissionId, service: ServiceNeeded, _caller: Submitter) -> Submission:
    """What became of a submission so far."""
    return Submission.of(found(service, submission))


def found(service: Service, identifier: str) -> model.Submission:
    """The submission of this id.

    Raises:
        ProblemError: There is none.
    """
    row = query.get(service.engine, identifier)
    if row is None:
        raise not_found("submission")
    return row


def request_of(  # noqa: PLR0913 - who asks, for what, with which options
    service: Service, caller: Caller, options: Options, *, package: str, upload: str = "", key: str | None = None
) -> model.Request:
    """What is asked for, with the defaults of the server.

    Raises:
        ProblemError: The server does not offer the profile, or the configuration allows no such webhook.
    """
    name = options.profile or next(iter(service.profiles))
    profile = service.profiles.get(name)
    if profile is None:
        offered = ", ".join(service.profiles)
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "profile", f"no profile {name[:64]!a} is offered; choose one of: {offered}"
        )
    if options.webhook is not None:
        try:
            receiver_of(service.receivers, options.webhook)
        except WebhookError as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "webhook", str(error)) from error
    plan = service.configuration
    return model.Request(
        package=package,
        upload=upload,
        profile=profile.name,
        profile_sha256=profile.sha256,
        rules_sha256=service.rules_sha256,
        lane=options.lane,
        artefact=options.artefact,
        pod=plan.worker.pod,
        runtime=plan.worker.runtime,
        submitter=caller.name,
        idempotency_key=key,
        webhook=options.webhook or "",
        budget=plan.queue.attempts,
        force=options.force,
    )


def taken(service: Service, request: model.Request) -> model.Submitted:
    """Commit a request, then tell the workers.

    Raises:
        ProblemError: The lane is full (429), or the idempotency key was used for other work (422).
    """
    queue = service.configuration.queue
    full: dict[model.Lane, int] = {"escalation": queue.escalations, "manual": queue.manuals, "sweep": queue.sweeps}
    try:
        made = submit(service.engine, request, service.clock(), full)
    except LaneFullError as error:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS, "lane-full", str(error), headers={"Retry-After": str(_RETRY_S)}
        ) from error
    repeated = request.idempotency_key is not None and made.submission.idempotency_key == request.idempotency_key
    if repeated and made.submission.submitter == request.submitter and made.submission.identity != identity(request):
        detail = "this Idempotency-Key was used for another request; choose a new key for new work"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
    if made.submission.state == "queued":
        service.enqueue(made.submission)
    return made
