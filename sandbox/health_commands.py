"""What `fumehood health` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from sandbox.database import open_database
from sandbox.observability.health import Check, checks
from sandbox.queue.connection import connect_if_any
from sandbox.queue.room import evidence_room_mb
from sandbox.standard_output import as_json, write
from sandbox.terminal.page import Page

if TYPE_CHECKING:
    from sandbox.config import Configuration


def health(configuration: Configuration, form: Literal["text", "json"]) -> int:
    """Print what is as it should be, and what is not."""
    engine, redis = open_database(configuration.database), connect_if_any(configuration)
    try:
        found = checks(engine, redis, time.time(), evidence_room_mb(configuration), configuration.worker.free_mb)
    except OSError as error:
        told = f"{error.filename} cannot be looked at: {error.strerror}; `fumehood config check` says more"
        found = [*checks(engine, redis, time.time()), Check(name="evidence disk", ok=False, told=told)]
    if form == "json":
        write([as_json({"healthy": all(check.ok for check in found), "checks": found})])
    else:
        page = Page(Console(highlight=False))
        page.rows(
            [[page.text("ok" if it.ok else "FAILS"), page.text(it.name), page.text(it.told)] for it in found], indent=0
        )
    return 0 if all(check.ok for check in found) else 1
