"""What the commands of the command line do, and how their ends become exit codes."""

from __future__ import annotations

import errno
import gc
import io
import logging
import os
import shlex
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import click
import msgspec
import structlog
from click.shell_completion import get_completion_class
from rich.console import Console

from sandbox.errors import LaneFullError, SandboxError, UsageError
from sandbox.rules_commands import load_rules
from sandbox.settings import Settings
from sandbox.standard_output import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.errors import CollectorError
    from collector.report import Report
    from collector.sigma.rule import RuleSet
    from collector.suppressions import Suppressions
    from sandbox.pod.choose import PodName

FailOn: TypeAlias = Literal["suspicious", "malicious", "never"]

_CLEAN, _FOUND, _USAGE, _INCONCLUSIVE, _FAULT, _LATER, _INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_ELSEWHERE: Final = "set FUMEHOOD_BUNDLES, FUMEHOOD_CACHE or, for the service, FUMEHOOD_DATA to another directory"
_MACHINE: Final = {
    errno.ENOSPC: f"free some space, or {_ELSEWHERE}",
    errno.EDQUOT: f"free some space, or {_ELSEWHERE}",
    errno.EACCES: f"make it writable for you, or {_ELSEWHERE}",
    errno.EPERM: f"make it writable for you, or {_ELSEWHERE}",
    errno.EROFS: f"make it writable for you, or {_ELSEWHERE}",
    errno.EEXIST: f"it is not a directory; {_ELSEWHERE}",
    errno.ENOTDIR: f"a part of it is not a directory; {_ELSEWHERE}",
}
"""What to do about errors of the machine, by error number."""


class Reporting(msgspec.Struct, frozen=True, kw_only=True):
    """How a report is made and where it goes."""

    form: Literal["text", "json"]
    output: Path | None
    fail_on: FailOn
    rules: Path | None
    sigma: tuple[Path, ...] = ()
    suppressions: Path | None = None


def configure_logging(verbose: int) -> None:
    """Logs go to standard error, so that a report on standard output stands alone."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            # Plain: the other formatters show local variables, and those may be bait or an index's password.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
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
    from sandbox.pod.choose import Wanted, check
    from sandbox.profile import load_profile
    from sandbox.run import Job
    from sandbox.run import run as run_job
    from sandbox.terminal.progress import make_progress

    settings = Settings.from_environment(os.environ)
    wanted = Wanted(pod=pod, runtime=runtime)
    check(wanted)
    job = Job(package=package, artefact=artefact, profile=load_profile(profile), pod=wanted)
    # Mistakes in what comes after the run are told before it.
    _check_output(reporting.output)
    given = load_rules(reporting.rules, reporting.sigma) if reporting.rules or reporting.sigma else None
    suppressions = load_if_given(reporting.suppressions)
    with ThreadPoolExecutor(1) as pool:
        loading: list[Future[RuleSet]] = []
        with make_progress(Console(stderr=True, highlight=False), quiet=quiet) as progress:
            bundle = run_job(job, settings, progress, lambda: loading.append(pool.submit(_ready, given)))
        try:
            return _report(bundle, loading[0].result(), suppressions, reporting)
        except BaseException:
            click.echo(f"the evidence is kept; to report again: fumehood report {shlex.quote(str(bundle))}", err=True)
            raise


def _ready(given: RuleSet | None) -> RuleSet:
    """Do what the report will wait for while the pod is at work: load the rules, unless they are given, and modules."""
    rules = (given or load_rules()).prepare()
    for needed in ("collector.analyse", "sandbox.terminal.report"):
        import_module(needed)
    # They stay as long as the process: whoever looks for garbage need not go through them again.
    gc.freeze()
    return rules


def report(bundle: Path, reporting: Reporting) -> int:
    """Report from a bundle."""
    return _report(
        bundle, load_rules(reporting.rules, reporting.sigma), load_if_given(reporting.suppressions), reporting
    )


def load_if_given(suppressions: Path | None) -> Suppressions:
    """Read the file of suppressions, when there is one."""
    from collector.suppressions import NONE, load_suppressions

    return load_suppressions(suppressions) if suppressions else NONE


def _report(bundle: Path, rules: RuleSet, suppressions: Suppressions, reporting: Reporting) -> int:
    from collector.analyse import analyse
    from collector.bundle import Bundle
    from collector.report import to_json
    from sandbox.terminal.report import render_report

    made = analyse(Bundle.open(bundle), rules, suppressions)
    text = io.StringIO()
    if reporting.form == "json":
        write([to_json(made)], reporting.output)
    elif reporting.output is not None:
        render_report(made, Console(file=text, width=100, no_color=True), bundle=bundle)
        write([text.getvalue().encode()], reporting.output)
    else:
        terminal, raw = Console(highlight=False), io.BytesIO()
        file = io.TextIOWrapper(raw, terminal.encoding, "backslashreplace", write_through=True)
        like = Console(file=file, highlight=False, force_terminal=terminal.is_terminal, width=terminal.width)
        render_report(made, like, bundle=bundle)
        write([raw.getvalue()])
    return _exit_code(made, reporting.fail_on)


def _check_output(output: Path | None) -> None:
    """Raise UsageError when a report could not be written to `output`."""
    if output is None:
        return
    if not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no directory {output.parent}; choose another --output")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise UsageError(f"cannot write {output}: {os.strerror(errno.EACCES)}; choose another --output")


def _exit_code(made: Report, fail_on: FailOn) -> int:
    if made.verdict == "inconclusive":
        return _INCONCLUSIVE
    worse = {"suspicious": ("suspicious", "malicious"), "malicious": ("malicious",), "never": ()}[fail_on]
    return _FOUND if made.verdict in worse else _CLEAN


def completion(command: click.Command, shell: str) -> int:
    """Print a shell's completion script."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}; choose bash, zsh or fish")
    click.echo(kind(command, {}, "fumehood", "_FUMEHOOD_COMPLETE").source())
    return _CLEAN


def guarded(command: Callable[[], int]) -> int:
    """Run a command; every way it may end becomes an exit code and, where it failed, one line."""
    from collector.errors import CollectorError

    try:
        return command() or _CLEAN
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            error.show()
        else:
            click.echo(f"fumehood: {_mistake(error)}", err=True)
        return _USAGE
    except (SandboxError, CollectorError) as error:
        click.echo(f"fumehood: {error}", err=True)
        return _code(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("fumehood: interrupted; nothing is left running", err=True)
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the job boundary: whatever it is, it is our fault and exit code 4
        structlog.get_logger(__name__).info("what went wrong", exc_info=error)
        click.echo(f"fumehood: {_fault(error)}", err=True)
        return _FAULT


def _code(error: SandboxError | CollectorError) -> int:
    """What a program that gave the command should do: mend it, give it again later, or call somebody."""
    if isinstance(error, LaneFullError):
        return _LATER
    return _FAULT if isinstance(error, SandboxError) and not isinstance(error, UsageError) else _USAGE


def _mistake(error: click.ClickException) -> str:
    """Describe wrong usage in one line, with the command whose help says how."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{said} (see `{context.command_path if context else 'fumehood'} --help`)"


def _fault(error: Exception) -> str:
    """Describe an error that nobody foresaw in one line; a machine that is full or locked up is not a bug."""
    if isinstance(error, OSError) and error.errno in _MACHINE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {_MACHINE[error.errno]}"
    # Only who has asked a database can meet its errors; --help does without the library.
    database = sys.modules.get("sqlalchemy.exc")
    if database is not None and isinstance(error, database.DBAPIError):
        from sandbox.database.faults import passes, told

        advice = "try again" if passes(error) else "`fumehood config check` looks at it"
        return f"the database does not do what it was asked for ({told(error)}); {advice}"
    return f"internal error ({type(error).__name__}); this is a bug: report what `fumehood -v ...` says"
