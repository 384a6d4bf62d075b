"""The application: its parts put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from sandbox import versions
from sandbox.api import health, observation, operation, problems, runs, submissions, submit
from sandbox.api.bounds import Bounds
from sandbox.api.service import Service
from sandbox.api.upkeep import forget_keys
from sandbox.api.watch import Watcher
from sandbox.reporting import Reports
from sandbox.webhooks.deliver import Deliverer

PREFIX: Final = "/api/v1"
_UPLOADS: Final = frozenset({f"{PREFIX}/submissions/upload"})
_FORM_BYTES: Final = 64 * 1024
"""What a form adds to the file in it."""


def create_app(service: Service) -> FastAPI:
    """The application of a service. Pages of documentation that load scripts from elsewhere are not offered."""
    app = FastAPI(
        lifespan=_beside,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        redirect_slashes=False,
    )
    app.state.service = service
    api = APIRouter(prefix=PREFIX)
    for part in (submit, submissions, runs, operation, observation, health):
        api.include_router(part.ROUTER)
    app.include_router(api)
    problems.install(app)
    upload = (service.configuration.api.upload_mb << 20) + _FORM_BYTES
    app.add_middleware(Bounds, uploads=_UPLOADS, max_upload=upload)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _beside(app: FastAPI) -> AsyncIterator[None]:
    """What goes on while the server runs."""
    service: Service = app.state.service
    app.state.watcher = watcher = Watcher(service.engine, service.configuration.api.streams_per_token)
    app.state.reports = Reports(service.configuration.evidence, service.rules_sha256)
    deliverer = Deliverer(service.engine, service.receivers, service.clock)
    going_on = [asyncio.create_task(it) for it in (watcher.run(), deliverer.run(), forget_keys(service))]
    yield
    for task in going_on:
        task.cancel()
    await asyncio.gather(*going_on, return_exceptions=True)


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="fumehood",
            version=versions.fumehood(),
            summary="Runs packages in sealed pods and says what they did",
            routes=app.routes,
        )
        problems.describe(document)
        app.openapi_schema = document
    return app.openapi_schema
