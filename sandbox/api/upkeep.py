"""What the server tidies up by itself: a server may run where no worker does."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from sandbox.api.service import Service
from sandbox.submissions import keys

_EVERY_S: Final = 600.0

_log = structlog.get_logger(__name__)


async def forget_keys(service: Service) -> None:
    """Remove idempotency keys that are known no longer, now and then, until cancelled."""
    while True:
        try:
            forgotten = await asyncio.to_thread(_forget, service)
        except DBAPIError as error:
            _log.warning("old idempotency keys stay for now", reason=str(error.orig)[:200])
        else:
            if forgotten:
                _log.info("old idempotency keys were removed", keys=forgotten)
        await asyncio.sleep(_EVERY_S)


def _forget(service: Service) -> int:
    return keys.forget(service.engine, service.clock())
