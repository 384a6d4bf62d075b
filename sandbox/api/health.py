"""Is it there, and would it serve: for load balancers and supervisors, without a token and without secrets."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from sandbox.api.models import Health, Readiness
from sandbox.api.service import Service, ServiceNeeded
from sandbox.database import is_current

ROUTER: Final = APIRouter(tags=["health"])


@ROUTER.get("/health")
async def health() -> Health:
    """The process answers."""
    # Not by one of the threads: all of them may be waiting for the database.
    return Health()


@ROUTER.get(
    "/ready", responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Readiness, "description": "It would not serve"}}
)
def ready(service: ServiceNeeded, response: Response) -> Readiness:
    """Requests would be served: the database answers, and its tables are of this version."""
    checks = {"database": _database(service)}
    readiness = Readiness(ready=all(said == "ok" for said in checks.values()), checks=checks)
    if not readiness.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return readiness


def _database(service: Service) -> str:
    try:
        current = is_current(service.engine)
    except SQLAlchemyError:
        return "does not answer"
    return "ok" if current else "its tables are of another version"
