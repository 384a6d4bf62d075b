"""Submit: a package of the index, many of them, or a file."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from sandbox.api.access import Submitter
from sandbox.api.intake import check_room, request_for_package, request_of, taken, unprocessable
from sandbox.api.models import Batch, BatchAnswer, BatchItem, Options, SubmissionRequest, Submitted
from sandbox.api.problems import ProblemError, document, documented
from sandbox.api.receive import FIELD, Received, receive
from sandbox.api.service import Service, ServiceNeeded
from sandbox.errors import IntakeError
from sandbox.intake.archive import inspect
from sandbox.intake.private import place
from sandbox.intake.target import Target
from sandbox.submissions import model, uploads

ROUTER: Final = APIRouter(prefix="/submissions", tags=["submit"])
_TARGET: Final = Target("3.11.2")
"""Which interpreter it is makes no difference to whether a file is an artefact."""
_FORM: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary", "description": "A wheel or an sdist"}},
            }
        }
    },
}

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern="^[!-~]+$",
        description="The same key again is the same request: it is answered by the same submission",
    ),
]
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": Submitted, "description": "An earlier submission answers for the same work"},
    **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS),
}


@ROUTER.post("", status_code=HTTPStatus.CREATED, responses=_ANSWERS)
def create(
    wanted: SubmissionRequest,
    service: ServiceNeeded,
    caller: Submitter,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Submitted:
    """Submit a package of the index. It is committed when the answer comes, and will end in exactly one final state."""
    return answered(response, taken(service, request_for_package(service, caller, wanted), idempotency_key))


@ROUTER.post("/batch", responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY))
def batch(
    wanted: Batch,
    request: Request,
    service: ServiceNeeded,
    caller: Submitter,
    idempotency_key: IdempotencyKey = None,
) -> BatchAnswer:
    """Submit up to 500 packages. Each stands for itself: one that cannot be taken keeps no other from being taken.

    Each counts as a request; the next one may have to wait until the rate allows for all of them.
    """
    service.rates.charge(caller.key, len(wanted.submissions) - 1)
    items = []
    for number, it in enumerate(wanted.submissions):
        key = None if idempotency_key is None else f"{idempotency_key}/{number}"
        try:
            made = taken(service, request_for_package(service, caller, it), key)
            items.append(BatchItem(submission=Submitted.answering(made)))
        except ProblemError as error:
            items.append(BatchItem(problem=document(error, request)))
    return BatchAnswer(items=items)


@ROUTER.post(
    "/upload",
    status_code=HTTPStatus.CREATED,
    responses=_ANSWERS
    | documented(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.INSUFFICIENT_STORAGE
    ),
    openapi_extra={"requestBody": _FORM},
)
async def upload(  # noqa: PLR0913, PLR0917 - who asks, for what, with which options
    request: Request,
    options: Annotated[Options, Query()],
    service: ServiceNeeded,
    caller: Submitter,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Submitted:
    """Submit a wheel or an sdist. It is checked before anything is committed, and never unpacked here.

    Options stand in the query, so that they are checked before the file is sent.
    """
    wanted = request_of(service, caller, options, "")
    await run_in_threadpool(check_room, service, wanted.lane)
    received = await receive(request, service.configuration.uploads, wanted.artefact)
    try:
        async with service.inspecting:
            made = await run_in_threadpool(_keep, service, received, wanted, idempotency_key)
    finally:
        with suppress(FileNotFoundError):
            received.path.unlink()
    return answered(response, made)


def answered(response: Response, made: model.Submitted) -> Submitted:
    """The answer to a request that was taken: 201 with its place, or 200 for an earlier one."""
    response.headers["Location"] = f"/api/v1/submissions/{made.submission.id}"
    response.status_code = HTTPStatus.CREATED if made.created else HTTPStatus.OK
    return Submitted.answering(made)


def _keep(service: Service, received: Received, wanted: model.Request, key: str | None) -> model.Submitted:
    try:
        inspect(received.path, received.filename, _TARGET)
    except IntakeError as error:
        raise unprocessable("artefact", error) from error
    uploads.want(service.engine, received.sha256, service.clock())
    placed = place(received.path, service.configuration.uploads / received.sha256, received.filename)
    service.evidence.keep_upload(placed, received.sha256)
    return taken(service, msgspec.structs.replace(wanted, package=received.filename, upload=received.sha256), key)
