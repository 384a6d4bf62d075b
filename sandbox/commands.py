"""What the commands of the command line do, and how their ends become exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click
import msgspec
import structlog
from click.shell_completion import get_completion_class
from rich.console import Console

from sandbox.errors import SandboxError, UsageError
from sandbox.resources import rules_directory
from sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.report import Report
    from collector.sigma.rule import RuleSet
    from sandbox.pod.choose import PodName

FailOn: TypeAlias = Literal["suspicious", "malicious", "never"]

_CLEAN, _FOUND, _USAGE, _INCONCLUSIVE, _FAULT, _INTERRUPTED = 0, 1, 2, 3, 4, 130


class Reporting(msgspec.Struct, frozen=True, kw_only=True):
    """How a report is made and where it goes."""

    form: Literal["text", "json"]
    output: Path | None
    fail_on: FailOn
    rules: Path | None


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are wanted; None for all."""

    phase: str | None
    kind: str | None
    actor: str | None


def configure_logging(verbose: int) -> None:
    """Logs go to standard error, so that a report on standard output stands alone."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run(  # noqa: PLR0913 - the options of the command
    package: str,
    artefact: Literal["auto", "wheel", "sdist"],
    profile: str,
    reporting: Reporting,
    *,
    pod: PodName,
    runtime: str,
    quiet: bool,
) -> int:
    """Run a package, then report."""
    from sandbox.pod.choose import Wanted
    from sandbox.profile import load_profile
    from sandbox.run import Job
    from sandbox.run import run as run_job
    from sandbox.terminal.progress import make_progress

    settings = Settings.from_environment(os.environ)
    wanted = Wanted(pod=pod, runtime=runtime)
    job = Job(package=package, artefact=artefact, profile=load_profile(profile), pod=wanted)
    with ThreadPoolExecutor(1) as pool:
        loading: list[Future[RuleSet]] = []
        with make_progress(Console(stderr=True, highlight=False), quiet=quiet) as progress:
            bundle = run_job(job, settings, progress, lambda: loading.append(pool.submit(_load_rules, reporting.rules)))
        return _report(bundle, loading[0].result(), reporting)


def report(bundle: Path, reporting: Reporting) -> int:
    """Report from a bundle."""
    return _report(bundle, _load_rules(reporting.rules), reporting)


def _load_rules(directory: Path | None) -> RuleSet:
    from collector.sigma.load import load_rules

    return load_rules(directory or rules_directory())


def _report(bundle: Path, rules: RuleSet, reporting: Reporting) -> int:
    from collector.analyse import analyse
    from collector.bundle import Bundle
    from collector.report import to_json
    from sandbox.terminal.report import render_report

    made = analyse(Bundle.open(bundle), rules)
    if reporting.form == "json":
        _write(to_json(made), reporting.output)
    elif reporting.output is not None:
        text = io.StringIO()
        render_report(made, Console(file=text, width=100, no_color=True), bundle=bundle)
        _write(text.getvalue().encode(), reporting.output)
    else:
        render_report(made, Console(highlight=False), bundle=bundle)
    return _exit_code(made, reporting.fail_on)


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}; choose another --output") from error


def _exit_code(made: Report, fail_on: FailOn) -> int:
    if made.verdict == "inconclusive":
        return _INCONCLUSIVE
    worse = {"suspicious": ("suspicious", "malicious"), "malicious": ("malicious",), "never": ()}[fail_on]
    return _FOUND if made.verdict in worse else _CLEAN


def events(bundle: Path, wanted: EventFilter) -> int:
    """List a bundle's events."""
    from collector import timeline
    from collector.bundle import Bundle
    from collector.text import render

    for event in timeline.build(Bundle.open(bundle)).events:
        kind = type(event).__struct_config__.tag
        if wanted.phase not in (None, event.phase) or wanted.actor not in (None, event.actor):
            continue
        if wanted.kind is not None and not f"{kind}.".startswith(f"{wanted.kind}."):
            continue
        click.echo(render(event, source=True))
    return _CLEAN


def list_rules(directory: Path | None) -> int:
    """List rules."""
    for rule in _load_rules(directory).rules:
        techniques = ",".join(rule.attack) or "-"
        click.echo(f"{rule.level:<13} {rule.name:<36} {techniques:<24} {rule.title}")
    return _CLEAN


def check_rules(directory: Path) -> int:
    """Load rules and run their examples."""
    click.echo(f"{len(_load_rules(directory).rules)} rules load, and their examples hold")
    return _CLEAN


def build_image(profile: str) -> int:
    """Build the base root filesystem of a profile."""
    from sandbox import images
    from sandbox.profile import load_profile

    settings = Settings.from_environment(os.environ)
    image = images.ensure(load_profile(profile).image, settings.cache, lambda text: click.echo(text, err=True))
    click.echo(image.rootfs)
    return _CLEAN


def prune_pods() -> int:
    """Remove what crashed workers left in Docker."""
    from sandbox.pod.docker import engine, labels

    client = engine.connect()
    try:
        removed = labels.prune(client, _current_images(client))
    finally:
        client.close()
    for kind, names in (("container", removed.containers), ("image", removed.images)):
        for name in names:
            click.echo(f"removed {kind} {name}")
    if not removed.containers and not removed.images:
        click.echo("nothing to remove")
    return _CLEAN


def completion(command: click.Command, shell: str) -> int:
    """Print a shell's completion script."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}; choose bash, zsh or fish")
    click.echo(kind(command, {}, "fumehood", "_FUMEHOOD_COMPLETE").source())
    return _CLEAN


def guarded(command: Callable[[], int]) -> int:  # noqa: PLR0911 - one for each end
    """Run a command; every way it may end becomes an exit code and, where it failed, one line."""
    from collector.errors import CollectorError

    try:
        return command() or _CLEAN
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return _USAGE
    except (SandboxError, CollectorError) as error:
        click.echo(f"fumehood: {error}", err=True)
        return _USAGE if isinstance(error, UsageError | CollectorError) else _FAULT
    except (KeyboardInterrupt, click.Abort):
        click.echo("fumehood: interrupted; nothing of the run is left", err=True)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLEAN
    except Exception as error:  # noqa: BLE001 - the job boundary: whatever it is, it is our fault and exit code 4
        structlog.get_logger(__name__).exception("internal error")
        click.echo(f"fumehood: internal error ({type(error).__name__}); this is a bug, please report it", err=True)
        return _FAULT
