"""From what somebody asks for to a committed row, or to the problem with it."""

from __future__ import annotations

import shutil
from http import HTTPStatus
from typing import Final

import msgspec

from sandbox.api.access import Caller
from sandbox.api.models import Options, SubmissionRequest
from sandbox.api.problems import ProblemError, not_found
from sandbox.api.receive import SPARE
from sandbox.api.service import Service
from sandbox.errors import IntakeError, KeyReusedError, LaneFullError, UploadRemovedError, UsageError, WebhookError
from sandbox.intake import normalise
from sandbox.pod.choose import Wanted, check
from sandbox.submissions import model, query, uploads
from sandbox.submissions.submit import submit
from sandbox.webhooks.receivers import receiver_of

_RETRY_S: Final = 60


def request_for_package(service: Service, caller: Caller, wanted: SubmissionRequest) -> model.Request:
    """What is asked for, of a package of the index.

    Raises:
        ProblemError: It is no package, or the options cannot be (422).
    """
    try:
        package = normalise(wanted.purl)
    except IntakeError as error:
        raise unprocessable("package", error) from error
    return request_of(service, caller, wanted, package)


def request_of(  # noqa: PLR0913 - who asks, for what, with which options
    service: Service,
    caller: Caller,
    options: Options,
    package: str,
    *,
    upload: str = "",
    origin: str | None = None,
) -> model.Request:
    """What is asked for, with the server's defaults.

    Raises:
        ProblemError: The server does not offer the profile, there can be no such pod, or the configuration allows no
            such webhook (422).
    """
    name = options.profile or next(iter(service.profiles))
    profile = service.profiles.get(name)
    if profile is None:
        offered = ", ".join(service.profiles)
        detail = f"no profile {name[:64]!a} is offered; choose one of: {offered}"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "profile", detail)
    if options.webhook is not None:
        try:
            receiver_of(service.receivers, options.webhook)
        except WebhookError as error:
            raise unprocessable("webhook", error) from error
    plan = service.configuration.worker
    # A runtime of the configuration belongs to the pod of the configuration.
    wanted = Wanted(
        pod=options.pod or plan.pod,
        runtime=options.runtime if options.runtime is not None else "" if options.pod else plan.runtime,
    )
    try:
        check(wanted)
    except UsageError as error:
        detail = "a runtime is for the pod 'docker'; the embedded pod has none"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "runtime", detail) from error
    return model.Request(
        package=package,
        upload=upload,
        origin=origin,
        profile=profile.name,
        profile_sha256=profile.sha256,
        rules_sha256=service.rules_sha256,
        lane=options.lane,
        artefact=options.artefact,
        pod=wanted.pod,
        runtime=wanted.runtime,
        submitter=caller.name,
        webhook=options.webhook or "",
        budget=service.configuration.queue.attempts,
        force=options.force,
    )


def check_room(service: Service, lane: model.Lane) -> None:
    """Refuse an upload before it is sent, where there is no room for it: in the lane, or on the disk.

    Raises:
        ProblemError: The lane is full (429), or less is free than the largest upload takes (507).
    """
    if query.depths(service.engine)[lane].queued >= _full(service)[lane]:
        detail = f"the lane {lane!r} is full; try again later"
        raise _later(HTTPStatus.TOO_MANY_REQUESTS, "lane-full", detail)
    uploads = service.configuration.uploads
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(uploads).free < (service.configuration.api.upload_mb << 20) + SPARE:
        detail = "there is no room for uploads on the server; try again later, or tell its administrator"
        raise _later(HTTPStatus.INSUFFICIENT_STORAGE, "disk-full", detail)


def _full(service: Service) -> dict[model.Lane, int]:
    queue = service.configuration.queue
    return {"escalation": queue.escalations, "manual": queue.manuals, "sweep": queue.sweeps}


def _later(status: HTTPStatus, kind: str, detail: str) -> ProblemError:
    return ProblemError(status, kind, detail, headers={"Retry-After": str(_RETRY_S)})


def taken(service: Service, request: model.Request, key: str | None = None) -> model.Submitted:
    """Commit a request, then tell the workers.

    Args:
        service: Where to.
        request: What is asked for.
        key: The sender's idempotency key.

    Raises:
        ProblemError: The lane is full (429), or the key was used for another request (422).
    """
    request = msgspec.structs.replace(request, idempotency_key=key)
    try:
        made = submit(service.engine, request, service.clock(), _full(service))
    except LaneFullError as error:
        raise _later(HTTPStatus.TOO_MANY_REQUESTS, "lane-full", str(error)) from error
    except KeyReusedError as error:
        raise unprocessable("idempotency-key-reused", error) from error
    # What waits already has its place: another would grow the queue with every repetition, and end a pause early.
    if made.created or made.lifted:
        service.enqueue(made.submission)
    return made


def found(service: Service, identifier: str) -> model.Submission:
    """The submission of this id.

    Raises:
        ProblemError: There is none (404).
    """
    row = query.get(service.engine, identifier)
    if row is None:
        raise not_found("submission")
    return row


def require_upload(service: Service, row: model.Submission) -> None:
    """See to it that what was uploaded, and is to be run again, is kept until then.

    Raises:
        ProblemError: It is not kept any more (409).
    """
    if not row.upload:
        return
    try:
        uploads.want_again(service.engine, service.evidence, row.upload, service.clock())
    except UploadRemovedError as error:
        raise ProblemError(HTTPStatus.CONFLICT, "upload-removed", str(error)) from error


def unprocessable(kind: str, error: Exception) -> ProblemError:
    """A problem with what was sent, in the words of an error of ours."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, kind, str(error))
