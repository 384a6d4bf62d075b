"""The commands of workers: `fumehood worker`, `worker list`, `worker drain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from sandbox import service_completion as offered
from sandbox.service_cli import CONFIG, FORMAT, configured

if TYPE_CHECKING:
    from pathlib import Path


@click.group(invoke_without_command=True)
@click.option(
    "--slots", type=click.IntRange(1, 1024), help="Runs at one time, instead of as many as processors and memory allow."
)
@CONFIG
@click.pass_context
def worker(context: click.Context, slots: int | None, config: Path | None) -> int:
    """Run what is submitted, on this host, until Ctrl-C or SIGTERM.

    Ctrl-C once: runs are finished first (the configuration's worker.grace_seconds at most). Twice: they are handed back
    at once, for another worker. Nothing is lost either way, nor when this is killed.

    \b
    Examples:
      fumehood worker
      fumehood worker --slots 2
      fumehood worker list
      fumehood worker drain build7-3fa2c1d4
    """
    if context.invoked_subcommand is not None:
        return 0
    from sandbox.worker_commands import work

    return work(configured(config), config, slots)


@worker.command("list")
@FORMAT
@CONFIG
def list_workers(form: Literal["text", "json"], config: Path | None) -> int:
    """List the workers of all hosts: how many slots, when last seen, whether they drain."""
    from sandbox.worker_commands import list_workers as run

    return run(configured(config), form)


@worker.command()
@click.argument("name", shell_complete=offered.workers)
@CONFIG
def drain(name: str, config: Path | None) -> int:
    """Have the worker NAME finish what it runs, begin nothing more, and end."""
    from sandbox.worker_commands import drain as run

    return run(configured(config), name)
