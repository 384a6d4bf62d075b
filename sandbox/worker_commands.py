"""What `fumehood worker ...` does."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from rich.console import Console

from sandbox.errors import UsageError
from sandbox.observability import logs
from sandbox.queue import capacity
from sandbox.queue.connection import connect
from sandbox.queue.supervisor import Supervisor
from sandbox.queue.work import load_profiles
from sandbox.queue_commands import NO_WORKER
from sandbox.service_commands import prepare
from sandbox.standard_output import as_json, say, write
from sandbox.submissions import workers
from sandbox.terminal.page import Page

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.config import Configuration
    from sandbox.queue_commands import Format


def work(configuration: Configuration, file: Path | None, slots: int | None) -> int:
    """Supervise the slots of this host until told to stop."""
    logs.configure(logging.INFO)
    profiles = load_profiles(configuration)
    connection = connect(configuration)
    engine = prepare(configuration)
    wanted = slots or configuration.worker.slots or capacity.slots(profiles.values())
    environment = {**os.environ, **({"FUMEHOOD_CONFIG": str(file.absolute())} if file else {})}
    return Supervisor(configuration, engine, connection, wanted, environment).run()


def list_workers(configuration: Configuration, form: Format) -> int:
    """Print the workers of all hosts."""
    found, now = workers.listed(prepare(configuration)), time.time()
    if form == "json":
        write([as_json(found)])
        return 0
    if not found:
        say(NO_WORKER)
    page = Page(Console(highlight=False))
    page.rows(
        [
            [
                page.text(row.name),
                page.text(f"{row.slots} {'slot' if row.slots == 1 else 'slots'}"),
                page.text("gone" if now - row.seen >= workers.GONE_S else "drains" if row.draining else "works"),
                page.text(f"seen {max(0, now - row.seen):.0f} s ago"),
            ]
            for row in found
        ],
        indent=0,
    )
    return 0


def drain(configuration: Configuration, name: str) -> int:
    """Have a worker end."""
    if not workers.drain(prepare(configuration), name):
        raise UsageError(f"there is no worker {name!a}; `fumehood worker list` lists them")
    say(f"{name}: finishes what it runs, then ends")
    return 0
