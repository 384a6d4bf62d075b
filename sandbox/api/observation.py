"""How the service does: metrics for Prometheus, and checks for people and their monitoring."""

from __future__ import annotations

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


@ROUTER.get("/checks")
def show_checks(service: ServiceNeeded, _caller: Submitter) -> Checks:
    """Whether submissions are taken, begun and finished in time: database, Redis, workers, escalations."""
    found = health.checks(service.engine, service.redis, service.clock())
    return Checks(
        healthy=all(check.ok for check in found),
        checks=[Check(name=check.name, ok=check.ok, told=check.told) for check in found],
    )
