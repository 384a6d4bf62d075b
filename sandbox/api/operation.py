"""What the people who run the service look at and steer: lanes, workers, deliveries."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from sandbox.api import cursors
from sandbox.api.access import Admin, Analyst
from sandbox.api.models import Identifier, Input, Reason, instant
from sandbox.api.problems import documented, not_found
from sandbox.api.service import Service, ServiceNeeded
from sandbox.submissions import lanes, query, workers
from sandbox.submissions.model import LANES
from sandbox.submissions.model import Lane as LaneName
from sandbox.webhooks import deliveries

ROUTER: Final = APIRouter(tags=["operation"])
WorkerName: TypeAlias = Annotated[str, Path(alias="name", min_length=1, max_length=128, pattern="^[!-~]+$")]


class LaneState(BaseModel):
    """A lane, and what waits in it."""

    lane: LaneName
    paused: bool
    reason: str = Field(description="Why it is paused")
    queued: int
    running: int
    oldest: datetime | None = Field(description="When the submission that waits longest came in")
    most: int = Field(description="How many may wait; more are refused")


class Worker(BaseModel):
    """A supervisor and its slots."""

    name: str
    host: str
    slots: int
    started: datetime
    seen: datetime = Field(description="When it was last heard of")
    draining: bool


class DeliveryQuery(Input):
    """Which deliveries to list."""

    state: deliveries.State | None = None
    submission: Identifier | None = None
    cursor: str | None = Field(default=None, max_length=cursors.MAX_CURSOR)
    limit: int = Field(default=50, ge=1, le=500)


class Delivery(BaseModel):
    """A webhook's message."""

    id: str
    submission: str
    event: str = Field(description="Empty before the end of the submission")
    url: str
    state: deliveries.State
    created: datetime
    attempts: int
    due: datetime = Field(description="When it is tried next, if it is pending")
    ended: datetime | None
    reason: str = Field(description="Why the latest attempt failed")


class DeliveryPage(BaseModel):
    """Deliveries, the newest first."""

    items: list[Delivery]
    next: str | None


@ROUTER.get("/lanes")
def show_lanes(service: ServiceNeeded, _caller: Analyst) -> list[LaneState]:
    """The lanes, the most urgent first, and what waits in each."""
    return _lanes(service)


@ROUTER.post("/lanes/{lane}/pause")
def pause(lane: LaneName, service: ServiceNeeded, caller: Admin, why: Reason | None = None) -> list[LaneState]:
    """Begin nothing more from a lane; what runs goes on, and submissions are still taken."""
    said = f"paused by {caller.name}" + (f": {why.reason}" if why and why.reason else "")
    lanes.pause(service.engine, lane, said, service.clock())
    return _lanes(service)


@ROUTER.post("/lanes/{lane}/resume")
def resume(lane: LaneName, service: ServiceNeeded, _caller: Admin) -> list[LaneState]:
    """Go on with a lane."""
    lanes.resume(service.engine, lane, service.clock())
    return _lanes(service)


@ROUTER.get("/workers")
def show_workers(service: ServiceNeeded, _caller: Analyst) -> list[Worker]:
    """Who works."""
    return [
        Worker(
            name=row.name,
            host=row.host,
            slots=row.slots,
            started=instant(row.started),
            seen=instant(row.seen),
            draining=row.draining,
        )
        for row in workers.listed(service.engine)
    ]


@ROUTER.post("/workers/{name}/drain", status_code=HTTPStatus.ACCEPTED, responses=documented(HTTPStatus.NOT_FOUND))
def drain(name: WorkerName, service: ServiceNeeded, _caller: Admin) -> dict[Literal["name"], str]:
    """Ask a worker to finish what it runs, and end."""
    if not workers.drain(service.engine, name):
        raise not_found("worker")
    return {"name": name}


@ROUTER.get("/deliveries", responses=documented(HTTPStatus.BAD_REQUEST))
def show_deliveries(wanted: Annotated[DeliveryQuery, Query()], service: ServiceNeeded, _caller: Admin) -> DeliveryPage:
    """What webhooks were told, or are to be told, the newest first."""
    rows = deliveries.listed(
        service.engine, wanted.state, wanted.submission, cursors.decode(wanted.cursor), wanted.limit + 1
    )
    page = rows[: wanted.limit]
    more = cursors.encode((page[-1].created, page[-1].id)) if len(rows) > wanted.limit else None
    return DeliveryPage(items=[_delivery(row) for row in page], next=more)


@ROUTER.post("/deliveries/{id}/retry", responses=documented(HTTPStatus.NOT_FOUND))
def retry_delivery(
    identifier: Annotated[Identifier, Path(alias="id")], service: ServiceNeeded, _caller: Admin
) -> Delivery:
    """Try a delivery that was given up again, from the beginning; any other stays as it is."""
    row = deliveries.retry(service.engine, identifier, service.clock())
    if row is None:
        raise not_found("delivery")
    return _delivery(row)


def _delivery(row: deliveries.DeliveryRow) -> Delivery:
    kept = ("id", "submission", "event", "url", "state", "attempts", "reason")
    return Delivery(
        **{name: getattr(row, name) for name in kept},
        created=instant(row.created),
        due=instant(row.due),
        ended=None if row.ended is None else instant(row.ended),
    )


def _lanes(service: Service) -> list[LaneState]:
    plan = service.configuration.queue
    most = {"escalation": plan.escalations, "manual": plan.manuals, "sweep": plan.sweeps}
    paused, depths = lanes.paused(service.engine), query.depths(service.engine)
    return [
        LaneState(
            lane=lane,
            paused=lane in paused,
            reason=paused.get(lane, ""),
            queued=depths[lane].queued,
            running=depths[lane].running,
            oldest=None if (oldest := depths[lane].oldest) is None else instant(oldest),
            most=most[lane],
        )
        for lane in LANES
    ]
