"""Every error as a problem document (RFC 9457), and never with what was sent in it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sandbox.errors import SandboxError

MEDIA_TYPE: Final = "application/problem+json"
_KIND: Final = "urn:fumehood:problem:"
_DESCRIBED: Final[dict[str, Any]] = {
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
}
_MOST_MISTAKES: Final = 20
_RETRY_S: Final = 5

_log = structlog.get_logger(__name__)


class Mistake(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Place in the request, e.g. `body.purl`")
    message: str


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="What sort of problem it is; stays the same", examples=[f"{_KIND}lane-full"])
    title: str
    status: int
    detail: str = Field(description="What happened, and what to do")
    request_id: str = Field(description="The request in the server's log")
    errors: list[Mistake] | None = Field(default=None, description="Everything that is wrong with the request")


class ProblemError(HTTPException):
    """An answer that is no success; raised anywhere below an endpoint."""

    def __init__(self, status: HTTPStatus, kind: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Say what is wrong.

        Args:
            status: Of the answer.
            kind: Stable name of the problem, the last part of its `type`.
            detail: What happened and what to do. Text of the sender's in it must be quoted and short.
            headers: Further headers of the answer.
        """
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


class NothingNewError(Exception):
    """There is nothing to tell, and there never will be (204)."""


class NotModifiedError(Exception):
    """What was asked for is as it was (304)."""

    def __init__(self, tag: str) -> None:
        """Say which.

        Args:
            tag: Its entity tag.
        """
        super().__init__(tag)
        self.tag = tag


def not_found(what: str) -> ProblemError:
    """There is no such thing, or none that the caller may know of."""
    return ProblemError(HTTPStatus.NOT_FOUND, "not-found", f"there is no such {what}")


def install(app: FastAPI) -> None:
    """Make every error of an application a problem document."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SandboxError, _unable)
    app.add_exception_handler(NotModifiedError, _not_modified)
    app.add_exception_handler(NothingNewError, lambda _request, _error: Response(status_code=HTTPStatus.NO_CONTENT))
    for unavailable in (OperationalError, InterfaceError, PoolTimeoutError):
        app.add_exception_handler(unavailable, _unavailable)


def answer(  # noqa: PLR0913 - the parts of a problem document
    status: int,
    kind: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[Mistake] | None = None,
) -> Response:
    """A problem document."""
    said = _document(status, kind, detail, request_id, errors)
    return Response(said.model_dump_json(exclude_none=True), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def document(error: ProblemError, request: Request) -> ProblemDocument:
    """A problem as part of an answer that holds several."""
    return _document(error.status_code, error.kind, str(error.detail), _id(request))


def fault(error: Exception, request_id: str) -> Response:
    """The answer to what nobody foresaw; what it was stands in the log alone."""
    _log.error("internal error", exc_info=error)
    detail = "this is a bug of fumehood's; report it with the request's id and the server's log"
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail, request_id)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Problems that an endpoint may answer with, for its description."""
    return {int(status): _DESCRIBED | {"description": status.phrase} for status in statuses}


def describe(document: dict[str, Any]) -> None:
    """Put the problems that every endpoint may answer with into an OpenAPI document."""
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = document["components"]["schemas"]
    schemas |= schema.pop("$defs") | {"ProblemDocument": schema}
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for operation in (it for path in document["paths"].values() for it in path.values()):
        answers = operation["responses"]
        if "422" in answers:
            answers["422"] = _DESCRIBED | {"description": HTTPStatus.UNPROCESSABLE_ENTITY.phrase}
        if "security" in operation:
            for status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
                answers.setdefault(str(int(status)), _DESCRIBED | {"description": status.phrase})
        answers["default"] = _DESCRIBED | {"description": "Any other problem"}


def _document(
    status: int, kind: str, detail: str, request_id: str, errors: list[Mistake] | None = None
) -> ProblemDocument:
    return ProblemDocument(
        type=_KIND + kind,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=errors,
    )


def _unable(request: Request, error: Exception) -> Response:
    """Something that the service needs does not work; what it is may name places of the machine, and is logged."""
    _log.error("unable", error=type(error).__name__, reason=str(error)[:500])
    detail = "the server cannot do this now, and its log says why; try again later"
    headers = {"Retry-After": str(_RETRY_S)}
    return answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, _id(request), headers=headers)


def _not_modified(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NotModifiedError)  # noqa: S101 - installed for nothing else
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": error.tag})


def _id(request: Request) -> str:
    return str(request.scope.get("fumehood.request_id", ""))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - installed for nothing else
    said = error.errors()
    mistakes = [
        Mistake(where=".".join(str(part)[:80] for part in it["loc"][:8]), message=str(it["msg"])[:300])
        for it in said[:_MOST_MISTAKES]
    ]
    first = f"{mistakes[0].where}: {mistakes[0].message}" if mistakes else "the request cannot be understood"
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    hint = "the OpenAPI document says what is expected"
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said and said[0]["loc"] == ("body",) and sent and sent != "application/json":
        # What curl says of any body unless it is told otherwise.
        hint = "was it JSON? Then say so: `Content-Type: application/json`"
    detail = f"{first}{more}; {hint}"
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, _id(request), errors=mistakes)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - likewise
    kind, detail = HTTPStatus(error.status_code).name.lower().replace("_", "-"), str(error.detail)
    if isinstance(error, ProblemError):
        kind = error.kind
    elif error.status_code == HTTPStatus.NOT_FOUND:
        # The router's own: it knows no such path.
        detail = "nothing is at this path; /api/v1/openapi.json describes what there is"
    return answer(error.status_code, kind, detail, _id(request), headers=error.headers)


def _unavailable(request: Request, error: Exception) -> Response:
    _log.error("database unavailable", error=type(error).__name__, reason=str(getattr(error, "orig", ""))[:200])
    detail = "the database does not answer, or somebody keeps it locked; try again later"
    headers = {"Retry-After": str(_RETRY_S)}
    return answer(HTTPStatus.SERVICE_UNAVAILABLE, "database-unavailable", detail, _id(request), headers=headers)
