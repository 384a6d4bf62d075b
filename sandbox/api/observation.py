"""How the service does: metrics for Prometheus, and checks for people and their monitoring."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from sandbox.api.access import Submitter
from sandbox.api.service import ServiceNeeded
from sandbox.observability import health, metrics

ROUTER: Final = APIRouter(tags=["observation"])


class Check(BaseModel):
    """One thing that has to hold."""

    name: str
    ok: bool
    told: str = Field(description="What is wrong and what to do, or how things are")


class Checks(BaseModel):
    """Whether the service does what it is for."""

    healthy: bool
    checks: list[Check]


@ROUTER.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "As Prometheus reads it"}
    },
)
def show_metrics(service: ServiceNeeded, _caller: Submitter) -> Response:
    """Metrics of all hosts, read from the database: scrape one server. docs/alerts.yaml has rules for them."""
    return Response(metrics.exposition(service.engine, service.clock()), media_type=metrics.CONTENT_TYPE)


@ROUTER.get(
    "/checks", responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Checks, "description": "Something does not hold"}}
)
def show_checks(service: ServiceNeeded, _caller: Submitter, response: Response) -> Checks:
    """Whether submissions are taken, begun and finished in time: database, Redis, workers, escalations."""
    found = health.checks(service.engine, service.redis, service.clock())
    healthy = all(check.ok for check in found)
    if not healthy:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Checks(healthy=healthy, checks=[Check(name=check.name, ok=check.ok, told=check.told) for check in found])
