"""The commands that submit, and look at what waits: `fumehood submit`, `health`, `queue ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from sandbox import completion as completion_of
from sandbox import service_completion as offered
from sandbox.service_cli import CONFIG, FORMAT, configured

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.submissions.model import Lane, State

Format: TypeAlias = Literal["text", "json"]

_LANES = ("escalation", "manual", "sweep")
_LANE = click.argument("lane", type=click.Choice(_LANES), metavar="LANE")
_ID = click.argument("submission", metavar="ID", shell_complete=offered.submissions())
_URGENCY = click.option(
    "--lane",
    type=click.Choice(_LANES),
    default="manual",
    show_default=True,
    help="How urgent it is: escalations first, sweeps last.",
)
_WAIT = click.option("--wait", is_flag=True, help="Stay until it has ended, and show how far it is.")
_EXIT_CODES = """
\b
Exit codes:
  0  submitted (or answered by an earlier submission); with --wait: ended, nothing found
  1  with --wait: the verdict is suspicious or malicious
  2  wrong usage, or with --wait: the package cannot be run
  3  with --wait: inconclusive
  4  something is missing on this machine; with --wait: given up or cancelled
  5  not taken, and nothing is wrong with it: the lane is full; submit it again later
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("package", shell_complete=completion_of.packages)
@_URGENCY
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
@_WAIT
@FORMAT
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
@FORMAT
@CONFIG
def health(form: Format, config: Path | None) -> int:
    """Say whether the service does what it is for: database, Redis, workers, escalations, room for evidence here."""
    from sandbox.health_commands import health as run

    return run(configured(config), form)


@click.group()
def queue() -> None:
    """Look at what waits, runs and has ended, and steer it."""


@queue.command()
@FORMAT
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
@FORMAT
@CONFIG
def list_(lane: Lane | None, state: State | None, limit: int, form: Format, config: Path | None) -> int:
    """List submissions, the latest first."""
    from sandbox.queue_commands import list_submissions

    return list_submissions(configured(config), lane, state, limit, form)


@queue.command()
@_ID
@FORMAT
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


@queue.command(epilog=_EXIT_CODES)
@_ID
@_URGENCY
@click.option(
    "--profile", shell_complete=offered.profiles, help="Another profile; one of the configuration's worker.profiles."
)
@click.option(
    "--artefact",
    type=click.Choice(["auto", "wheel", "sdist"]),
    help="Another file of the release; not for what was uploaded.",
)
@click.option("--pod", type=click.Choice(["auto", "bubblewrap", "docker"]), help="Another pod.")
@click.option("--runtime", metavar="NAME", help="Another Docker runtime.")
@click.option(
    "--force/--no-force",
    default=True,
    show_default=True,
    help="Run even if the same was run before; else an earlier submission may answer.",
)
@_WAIT
@FORMAT
@CONFIG
def rerun(
    submission: str,
    lane: Lane,
    profile: str | None,
    artefact: Literal["auto", "wheel", "sdist"] | None,
    pod: Literal["auto", "bubblewrap", "docker"] | None,
    runtime: str | None,
    force: bool,
    wait: bool,
    form: Format,
    config: Path | None,
) -> int:
    """Submit what the submission ID was for once more, in whatever state that is. The new one names it as its origin.

    What is not asked for otherwise stays as it was, but for the lane, and for the rules, which are today's.

    \b
    Examples:
      fumehood queue rerun 01kb5wq3zt8f6n2v4m9c7x1y0e --profile slow --wait
      fumehood queue rerun 01kb5wq3zt8f6n2v4m9c7x1y0e --artefact sdist
    """
    from sandbox.submissions.rerun import Changes
    from sandbox.submit_commands import rerun as run

    changes = Changes(profile=profile, artefact=artefact, pod=pod, runtime=runtime)
    return run(configured(config), submission, changes, lane, force=force, wait=wait, form=form)


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
