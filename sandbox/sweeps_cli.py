"""The commands `fumehood sweep ...`; what they do is in `sandbox.sweeps_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from sandbox.service_cli import CONFIG, configured

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Format: TypeAlias = Literal["text", "json"]


def _names(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the names of sweeps."""
    from sandbox.sweeps_commands import complete

    return complete(context.params.get("sweeps"), typed)


_SWEEPS = click.option(
    "--sweeps",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="FUMEHOOD_SWEEPS",
    show_envvar=True,
    is_eager=True,
    help="The file of sweeps; without it the shipped profiles/sweeps.yaml.",
)
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.group()
def sweep() -> None:
    """Submit packages unattended, as feeds name them, and tell each morning what came of it (docs/sweeps.md).

    \b
    Start here:
      fumehood sweep check                      what is planned, and whether it can be
      fumehood sweep run new-projects --dry-run what would be submitted
      fumehood sweep schedule                   run them all by their schedules, until Ctrl-C
      fumehood sweep digest                     what the last day's sweeps found
    """


@sweep.command(
    epilog="""
\b
Exit codes:
  0    complete, or as far as the budget goes
  2    wrong usage: there is no such sweep, or its file is wrong
  4    the feed cannot be read, or the sweep is running elsewhere
  130  asked to stop; the next run goes on from there
"""
)
@click.argument("name", shell_complete=_names)
@click.option("--dry-run", is_flag=True, help="Say what would be submitted, and commit nothing.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on standard error.")
@_FORMAT
@_SWEEPS
@CONFIG
def run(name: str, dry_run: bool, quiet: bool, form: Format, sweeps: Path | None, config: Path | None) -> int:
    """Run the sweep NAME now, whatever its schedule.

    Packages are submitted in the lane `sweep`; workers run them. It may be ended at any moment, also by kill -9: the
    next run goes on where this one was, nothing is lost and nothing submitted twice. While the lane is full it waits.

    \b
    Examples:
      fumehood sweep run updates
      fumehood sweep run ours --sweeps ./sweeps.yaml --dry-run
    """
    from sandbox import sweeps_commands

    given = sweeps_commands.Given(configuration=configured(config), sweeps=sweeps, form=form, quiet=quiet)
    return sweeps_commands.preview_sweep(given, name) if dry_run else sweeps_commands.run_sweep(given, name)


@sweep.command(name="list")
@_FORMAT
@_SWEEPS
@CONFIG
def list_sweeps(form: Format, sweeps: Path | None, config: Path | None) -> int:
    """List the sweeps: what they read, when they are next due, and how the last run of each went."""
    from sandbox import sweeps_commands

    given = sweeps_commands.Given(configuration=configured(config), sweeps=sweeps, form=form)
    return sweeps_commands.list_sweeps(given)


@sweep.command()
@click.option("--offline", is_flag=True, help="Ask no index and read no feed.")
@_SWEEPS
@CONFIG
def check(offline: bool, sweeps: Path | None, config: Path | None) -> int:
    """Check the file of sweeps: its form, the files that it names, that workers offer its profiles, and its feeds.

    Of each feed the beginning is read, by the same client as in a sweep: so an index without feeds is told now, not at
    night. Nothing is submitted, and no sweep goes on from there.

    Exits with 1 when something that a sweep needs is not there, and with 2 when the file is wrong.
    """
    from sandbox.sweep_check_commands import check_sweeps
    from sandbox.sweeps_commands import Given

    return check_sweeps(Given(configuration=configured(config), sweeps=sweeps), offline=offline)


@sweep.command()
@click.argument("name", required=False, shell_complete=_names)
@click.option(
    "--since",
    default="24h",
    show_default=True,
    metavar="SPAN|TIME",
    help="Where it begins: hours (12h) or days (7d) before its end, or an instant (2026-11-28T07:00Z).",
)
@click.option("--until", metavar="TIME", help="Where it ends, an instant; without it now.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "html", "json"]),
    default="markdown",
    show_default=True,
    help="html is one file that fetches nothing; json is for machines.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output.",
)
@click.option(
    "--webhook", metavar="URL", help="Have this receiver of the configuration told it, instead of printing it."
)
@_SWEEPS
@CONFIG
def digest(
    name: str | None,
    since: str,
    until: str | None,
    form: Literal["markdown", "html", "json"],
    output: Path | None,
    webhook: str | None,
    sweeps: Path | None,
    config: Path | None,
) -> int:
    """Tell what came of sweeps, or of the sweep NAME alone, in a span of time.

    What is new and bad, what acts otherwise than its previous release did, what could not be judged, and how the
    sweeps themselves went. A package is told of in the span in which its run ended: digests of spans that follow one
    another tell of each once.

    \b
    Examples:
      fumehood sweep digest
      fumehood sweep digest updates --since 7d --format html --output week.html
    """
    from sandbox.digest_commands import Span, digest_sweeps, send_digest
    from sandbox.sweeps_commands import Given

    given = Given(configuration=configured(config), sweeps=sweeps)
    span = Span(since=since, until=until)
    if webhook:
        return send_digest(given, name, span, webhook)
    return digest_sweeps(given, name, span, form, output)


@sweep.command()
@_SWEEPS
@CONFIG
def schedule(sweeps: Path | None, config: Path | None) -> int:
    """Run sweeps by their schedules, until Ctrl-C or SIGTERM.

    The file is read again when it changes. What was missed while this did not run is made up for once. Several may
    run, on several hosts: each moment of a schedule is served once.
    """
    from sandbox import sweeps_commands

    return sweeps_commands.keep_schedule(sweeps_commands.Given(configuration=configured(config), sweeps=sweeps))
