"""Runs: found, explained, labelled, and their evidence taken away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from collector.errors import CollectorError
from collector.store import labels, search
from collector.store.runs import get_run
from sandbox.api.access import Analyst, Submitter
from sandbox.api.intake import found
from sandbox.api.models import Verdict
from sandbox.api.problems import NotModifiedError, ProblemError, documented, not_found
from sandbox.api.run_models import Label, LabelName, Note, Run, RunDetail, RunId, RunPage, RunQuery
from sandbox.api.service import Service, ServiceNeeded
from sandbox.api.submissions import SubmissionId
from sandbox.database import writing
from sandbox.errors import EvidenceDamagedError, EvidenceMissingError
from sandbox.evidence.archive import archive_name
from sandbox.reporting import Form, Reports

ROUTER: Final = APIRouter(tags=["runs"])
_CHUNK: Final = 256 * 1024
_TYPES: Final[dict[Form, str]] = {"json": "application/json", "text": "text/plain; charset=utf-8"}

OfRun = Annotated[RunId, Path(alias="run")]
OfLabel = Annotated[LabelName, Path(alias="label")]
Chosen = Annotated[Form, Query(alias="format", description="`json` as docs/report.schema.json describes it, or `text`")]
Unchanged = Annotated[str | None, Header(alias="If-None-Match", max_length=200)]
_REPORT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The report",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}},
    },
    304: {"description": "It is as it was (`If-None-Match`)"},
}
_ARCHIVE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}


@ROUTER.get("/runs", responses=documented(HTTPStatus.BAD_REQUEST))
def search_runs(query: Annotated[RunQuery, Query()], service: ServiceNeeded, _caller: Analyst) -> RunPage:
    """Find runs, the newest first, a page at a time."""
    verdicts: tuple[Verdict, ...] = tuple(query.verdict)
    wanted = search.Search(
        package=query.package,
        version=query.version,
        sha256=query.sha256 or "",
        indicator=query.indicator,
        rule=query.rule,
        technique=query.technique,
        label=query.label or "",
        profile=query.profile,
        verdicts=verdicts,
        since=query.since.timestamp() if query.since else None,
        until=query.until.timestamp() if query.until else None,
    )
    try:
        with service.engine.connect() as connection:
            page = search.search(connection, wanted, cursor=query.cursor, limit=query.limit)
    except CollectorError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "search", str(error)) from error
    return RunPage(items=[Run.of(run) for run in page.runs], next=page.cursor or None)


@ROUTER.get("/runs/{run}", responses=documented(HTTPStatus.NOT_FOUND))
def show_run(run: OfRun, service: ServiceNeeded, _caller: Analyst) -> RunDetail:
    """All that is kept of a run; its report has more."""
    with service.engine.connect() as connection:
        detail = get_run(connection, run)
    if detail is None:
        raise not_found("run")
    return RunDetail.detailed(detail)


@ROUTER.get("/runs/{run}/report", response_class=Response, responses=_REPORT | documented(HTTPStatus.NOT_FOUND))
async def report_of_run(
    run: OfRun, request: Request, _caller: Analyst, form: Chosen = "json", if_none_match: Unchanged = None
) -> Response:
    """The report on a run, made from its evidence by the rules that are now in force."""
    return await _report(request, run, form, if_none_match)


@ROUTER.get(
    "/submissions/{id}/report",
    response_class=Response,
    responses=_REPORT | documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def report_of_submission(
    submission: SubmissionId,
    request: Request,
    service: ServiceNeeded,
    _caller: Submitter,
    form: Chosen = "json",
    if_none_match: Unchanged = None,
) -> Response:
    """The report on the run that counts for a submission."""
    return await _report(request, await run_in_threadpool(_run_of, service, submission), form, if_none_match)


@ROUTER.get("/runs/{run}/evidence", response_class=Response, responses=_ARCHIVE | documented(HTTPStatus.NOT_FOUND))
async def evidence_of_run(run: OfRun, service: ServiceNeeded, _caller: Analyst) -> Response:
    """The evidence bundle, verified, as one zip file. Its content is hostile: the package wrote it."""
    return await _archive(service, run)


@ROUTER.get(
    "/submissions/{id}/evidence",
    response_class=Response,
    responses=_ARCHIVE | documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def evidence_of_submission(submission: SubmissionId, service: ServiceNeeded, _caller: Analyst) -> Response:
    """The evidence of the run that counts for a submission."""
    return await _archive(service, await run_in_threadpool(_run_of, service, submission))


@ROUTER.put("/runs/{run}/labels/{label}", responses=documented(HTTPStatus.NOT_FOUND))
def put_label(run: OfRun, label: OfLabel, service: ServiceNeeded, caller: Analyst, said: Note | None = None) -> Label:
    """Label a run, or replace its note, by none without a body. `known-good` runs are what rarity is measured by."""
    given = labels.Label(label=label, note=said.note if said else "", author=caller.name, created=service.clock())
    with writing(service.engine) as connection:
        there = labels.put_label(connection, run, given)
    if not there:
        raise not_found("run")
    return Label.of(given)


@ROUTER.delete(
    "/runs/{run}/labels/{label}", status_code=HTTPStatus.NO_CONTENT, responses=documented(HTTPStatus.NOT_FOUND)
)
def remove_label(run: OfRun, label: OfLabel, service: ServiceNeeded, _caller: Analyst) -> None:
    """Take a label from a run."""
    with writing(service.engine) as connection:
        there = labels.remove_label(connection, run, label)
    if not there:
        raise not_found("label of this run")


def _run_of(service: Service, submission: str) -> str:
    row = found(service, submission)
    if row.run is None:
        said = {
            "queued": "it still waits; its events tell when it has ended",
            "running": "it still runs; its events tell when it has ended",
        }.get(row.state, f"it is {row.state}: {row.reason}")
        raise ProblemError(HTTPStatus.CONFLICT, "no-run", f"there is no run: {said}"[:500])
    return row.run


async def _report(request: Request, run: str, form: Form, known: str | None) -> Response:
    reports: Reports = request.app.state.reports
    tag = f'"{run}-{reports.edition}-{form}"'
    if known is not None and tag in known:
        raise NotModifiedError(tag)
    try:
        made = await reports.get(run, form)
    except EvidenceMissingError as error:
        raise _no_evidence() from error
    except EvidenceDamagedError as error:
        raise _damaged(error) from error
    # Its rules are the server's: a proxy in between must ask again.
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    return Response(made, media_type=_TYPES[form], headers=headers)


async def _archive(service: Service, run: str) -> Response:
    try:
        async with service.packing:
            file = await run_in_threadpool(service.evidence.archive, run)
    except EvidenceMissingError as error:
        raise _no_evidence() from error
    except EvidenceDamagedError as error:
        raise _damaged(error) from error
    size = file.seek(0, 2)
    file.seek(0)
    headers = {
        "Content-Disposition": f'attachment; filename="{archive_name(run)}"',
        "Content-Length": str(size),
    }
    return StreamingResponse(
        _pieces(file), media_type="application/zip", headers=headers, background=BackgroundTask(file.close)
    )


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    # Closed here too: a background task is left out when whoever downloads has left.
    with file:
        while piece := await run_in_threadpool(file.read, _CHUNK):
            yield piece


def _no_evidence() -> ProblemError:
    detail = "there is no evidence of this run: there is no such run, or its evidence was removed"
    return ProblemError(HTTPStatus.NOT_FOUND, "no-evidence", detail)


def _damaged(error: Exception) -> ProblemError:
    detail = f"the evidence is damaged, so that nothing is said from it: {error}"
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "evidence-damaged", detail[:500])
