"""The commands that submit, look at what waits, and run it: `fumehood submit`, `queue ...`, `worker ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from sandbox import completion as completion_of
from sandbox import service_completion as offered
from sandbox.service_cli import CONFIG, configured

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.submissions.model import Lane, State

Format: TypeAlias = Literal["text", "json"]

_LANES = ("escalation", "manual", "sweep")
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
_LANE = click.argument("lane", type=click.Choice(_LANES), metavar="LANE")
_ID = click.argument("submission", metavar="ID", shell_complete=offered.submissions())


@click.command(
    epilog="""
\b
Exit codes:
  0  submitted (or answered by an earlier submission); with --wait: ended, nothing found
  1  with --wait: the verdict is suspicious or malicious
  2  wrong usage, or with --wait: the package cannot be run
  3  with --wait: inconclusive
  4  not taken: the lane is full, or something is missing on this machine; with --wait: given up or cancelled
"""
)
@click.argument("package", shell_complete=completion_of.packages)
@click.option(
    "--lane",
    type=click.Choice(_LANES),
    default="manual",
    show_default=True,
    help="How urgent it is: escalations first, sweeps last.",
)
@click.option(
    "--artefact",
    type=click.Choice(["auto", "wheel", "sdist"]),
    default="auto",
    show_default=True,
    help="Which file of a release to run.",
)
@click.option(
    "--profile",
    shell_complete=offered.profiles,
    help="One of the configuration's worker.profiles; without it the first.",
)
@click.option(
    "--pod",
    type=click.Choice(["auto", "bubblewrap", "docker"]),
    help="What seals the package in, instead of the configuration's worker.pod.",
)
@click.option("--runtime", metavar="NAME", help="Docker runtime of the pod, instead of the configuration's.")
@click.option("--force", is_flag=True, help="Run again even if the same was run before.")
@click.option("--wait", is_flag=True, help="Stay until it has ended, and show how far it is.")
@_FORMAT
@CONFIG
def submit(
    package: str,
    lane: Lane,
    artefact: Literal["auto", "wheel", "sdist"],
    profile: str | None,
    pod: Literal["auto", "bubblewrap", "docker"] | None,
    runtime: str | None,
    force: bool,
    wait: bool,
    form: Format,
    config: Path | None,
) -> int:
    """Submit PACKAGE, a purl or a file, to be run by a worker.

    It is committed to the database before this returns, and ends in exactly one final state: done, failed, dead or
    cancelled. The same work is done once: an earlier submission answers for it, unless --force.

    \b
    Examples:
      fumehood submit pkg:pypi/six
      fumehood submit ./thing-1.0.tar.gz --lane escalation --wait
    """
    from sandbox.submit_commands import Wish
    from sandbox.submit_commands import submit as run

    wish = Wish(
        package=package,
        lane=lane,
        artefact=artefact,
        profile=profile,
        pod=pod,
        runtime=runtime,
        force=force,
    )
    return run(configured(config), wish, wait=wait, form=form)


@click.command(
    epilog="""
\b
Exit codes:
  0  everything is as it should be
  1  something is not
"""
)
@_FORMAT
@CONFIG
def health(form: Format, config: Path | None) -> int:
    """Say whether the service does what it is for: database, Redis, workers, escalations, room for evidence here."""
    from sandbox.health_commands import health as run

    return run(configured(config), form)


@click.group()
def queue() -> None:
    """Look at what waits, runs and has ended, and steer it."""


@queue.command()
@_FORMAT
@CONFIG
def status(form: Format, config: Path | None) -> int:
    """How much waits and runs in each lane, which are paused, and who works."""
    from sandbox.queue_commands import status as run

    return run(configured(config), form)


@queue.command("list")
@click.option("--lane", type=click.Choice(_LANES), help="Only this lane.")
@click.option(
    "--state",
    type=click.Choice(["queued", "running", "done", "failed", "dead", "cancelled"]),
    help="Only submissions in this state.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@_FORMAT
@CONFIG
def list_(lane: Lane | None, state: State | None, limit: int, form: Format, config: Path | None) -> int:
    """List submissions, the latest first."""
    from sandbox.queue_commands import list_submissions

    return list_submissions(configured(config), lane, state, limit, form)


@queue.command()
@_ID
@_FORMAT
@CONFIG
def show(submission: str, form: Format, config: Path | None) -> int:
    """Everything about one submission: how far it is, every attempt at it, how it ended."""
    from sandbox.queue_commands import show as run

    return run(configured(config), submission, form)


@queue.command()
@click.argument(
    "submissions",
    metavar="ID...",
    nargs=-1,
    required=True,
    shell_complete=offered.submissions("queued", "running"),
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the submission, beside who you are.")
@CONFIG
def cancel(submissions: tuple[str, ...], reason: str, config: Path | None) -> int:
    """Cancel submissions: those that wait at once, those that run within a few seconds."""
    from sandbox.queue_commands import cancel as run

    return run(configured(config), submissions, reason)


@queue.command()
@click.argument(
    "submissions",
    metavar="ID...",
    nargs=-1,
    required=True,
    shell_complete=offered.submissions("dead", "failed", "cancelled"),
)
@CONFIG
def retry(submissions: tuple[str, ...], config: Path | None) -> int:
    """Queue dead, failed or cancelled submissions again, with a new budget of attempts."""
    from sandbox.queue_commands import retry as run

    return run(configured(config), submissions)


@queue.command()
@_LANE
@click.option("--reason", default="", metavar="TEXT", help="Why; shown by `fumehood queue status`, with who you are.")
@CONFIG
def pause(lane: Lane, reason: str, config: Path | None) -> int:
    """Begin nothing more from LANE; what runs is finished, what waits stays."""
    from sandbox.queue_commands import pause as run

    return run(configured(config), lane, reason)


@queue.command()
@_LANE
@CONFIG
def resume(lane: Lane, config: Path | None) -> int:
    """Go on with LANE."""
    from sandbox.queue_commands import resume as run

    return run(configured(config), lane)


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
@_FORMAT
@CONFIG
def list_workers(form: Format, config: Path | None) -> int:
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
