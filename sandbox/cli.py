"""The command line. One function a command; what they do is in `sandbox.commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import click

from sandbox import commands, docker_commands
from sandbox import completion as completion_of
from sandbox.config_cli import config as config_group
from sandbox.image_cli import image as image_group
from sandbox.pod_options import POD, RUNTIME, runtime_for
from sandbox.queue_cli import health, queue, submit
from sandbox.rules_cli import RULES, SIGMA
from sandbox.rules_cli import rules as rules_group
from sandbox.service_cli import serve, token
from sandbox.store_cli import store as store_group
from sandbox.sweeps_cli import sweep as sweep_group
from sandbox.up_cli import up
from sandbox.worker_cli import worker

Format: TypeAlias = Literal["text", "json"]

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text is for people; json is described by docs/report.schema.json.",
)
_OUTPUT = click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report to this file instead of standard output.",
)
_FAIL_ON = click.option(
    "--fail-on",
    type=click.Choice(["suspicious", "malicious", "never"]),
    default="suspicious",
    show_default=True,
    help="Exit with 1 when the verdict is this or worse.",
)
_SUPPRESSIONS = click.option(
    "--suppressions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="FUMEHOOD_SUPPRESSIONS",
    show_envvar=True,
    help="YAML file of findings that do not count (docs/suppressions.md). They are still shown.",
)

_EXIT_CODES = """
\b
Exit codes:
  0  clean (or nothing at or above --fail-on)
  1  the verdict is at or above --fail-on
  2  wrong usage: the package, file or option cannot be used
  3  inconclusive: the run did not see everything
  4  fumehood's own fault, or something missing on this machine
  130  interrupted (Ctrl-C) before there was evidence; later, the run ends early and is reported
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fumehood", message="%(prog)s %(version)s")
@click.option("--verbose", "-v", count=True, help="Log what happens to standard error (-vv: everything).")
def cli(verbose: int) -> None:
    """Run a package in a sealed pod and say what it did, with proof.

    fumehood installs, starts, imports and exercises a package inside a pod that no wire leaves. Every system call that
    matters and every network attempt is recorded; rules turn them into findings and a verdict.

    \b
    Start here:
      fumehood run pkg:pypi/six              the newest release of six
      fumehood run ./dist/thing-1.0.tar.gz   a local sdist or wheel
      fumehood up                            the service, with a queue and an HTTP interface, on this machine
    """
    commands.configure_logging(verbose)


@cli.command(epilog=_EXIT_CODES)
@click.argument("package", shell_complete=completion_of.packages)
@click.option(
    "--artefact",
    type=click.Choice(["auto", "wheel", "sdist"]),
    default="auto",
    show_default=True,
    help="Which file of a release to run; auto prefers a wheel that fits the pod. Attackers like sdists: try both.",
)
@click.option(
    "--profile",
    default="pypi",
    show_default=True,
    shell_complete=completion_of.profiles,
    help="Name of a shipped profile or path of a YAML file: phases, limits, persona, bait.",
)
@POD
@RUNTIME
@_FORMAT
@_OUTPUT
@_FAIL_ON
@RULES
@SIGMA
@_SUPPRESSIONS
@click.option("--quiet", "-q", is_flag=True, help="No progress on standard error.")
def run(
    package: str,
    artefact: Literal["auto", "wheel", "sdist"],
    profile: str,
    pod: Literal["auto", "bubblewrap", "docker"],
    runtime: str,
    form: Format,
    output: Path | None,
    fail_on: commands.FailOn,
    rules: Path | None,
    sigma: tuple[Path, ...],
    suppressions: Path | None,
    quiet: bool,
) -> int:
    """Run PACKAGE and report what it did.

    PACKAGE is a purl (pkg:pypi/NAME or pkg:pypi/NAME@VERSION; without a version the newest release) or the path of a
    local sdist or wheel. The evidence stays in a bundle, whose place is told at the end.

    \b
    Examples:
      fumehood run pkg:pypi/requests@2.32.3
      fumehood run pkg:pypi/pyyaml --artefact sdist
      fumehood run ./thing-1.0-py3-none-any.whl --format json --output report.json
    """
    reporting = commands.Reporting(
        form=form, output=output, fail_on=fail_on, rules=rules, sigma=sigma, suppressions=suppressions
    )
    runtime = runtime_for(pod, runtime)
    return commands.run(package, artefact, profile, reporting, pod=pod, runtime=runtime, quiet=quiet)


@cli.command(epilog=_EXIT_CODES)
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=completion_of.directories)
@_FORMAT
@_OUTPUT
@_FAIL_ON
@RULES
@SIGMA
@_SUPPRESSIONS
def report(
    bundle: Path,
    form: Format,
    output: Path | None,
    fail_on: commands.FailOn,
    rules: Path | None,
    sigma: tuple[Path, ...],
    suppressions: Path | None,
) -> int:
    """Report again from the evidence in BUNDLE alone.

    Nothing is run. The same bundle and the same rules give the same report, to the byte; new rules can be tried on
    old evidence.

    \b
    Examples:
      fumehood report BUNDLE --rules ./my-rules
      fumehood report BUNDLE --sigma ./sigma/rules/linux
    """
    reporting = commands.Reporting(
        form=form, output=output, fail_on=fail_on, rules=rules, sigma=sigma, suppressions=suppressions
    )
    return commands.report(bundle, reporting)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path), shell_complete=completion_of.directories)
@click.option("--phase", help="Only events of this phase.")
@click.option(
    "--kind",
    shell_complete=completion_of.kinds,
    help="Only events of this kind, or of all kinds that begin with it (file, network.connect).",
)
@click.option("--actor", help="Only events of this actor (installer, target, dependency:NAME ...).")
@click.option(
    "--unusual/--baseline",
    "unusual",
    default=None,
    help="Only events that an empty package does not have, or only those that it has too (fumehood image baseline).",
)
def events(bundle: Path, phase: str | None, kind: str | None, actor: str | None, unusual: bool | None) -> int:
    """List the events in BUNDLE, one a line, in the text form that rules and tests use.

    \b
    Each line: phase, actor, process, kind, fields, and where in the bundle it comes from:
      import target 412 file.read path=/home/martin/.aws/credentials  # traces/import.strace.zst:1234
    """
    usual = None if unusual is None else not unusual
    from sandbox.events_commands import EventFilter, list_events

    return list_events(bundle, EventFilter(phase=phase, kind=kind, actor=actor, usual=usual))


@cli.command(
    epilog="""
\b
Exit codes:
  0  nothing is judged differently
  1  something is
  2  wrong usage: the rules cannot be loaded, or there is no bundle
  3  a bundle could not be read; the others were compared
"""
)
@click.argument(
    "bundles", nargs=-1, required=True, type=click.Path(path_type=Path), shell_complete=completion_of.directories
)
@click.option(
    "--rules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of the rules to try; the shipped ones when only --sigma is given.",
)
@SIGMA
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of rules to compare with, instead of the shipped ones.",
)
@_SUPPRESSIONS
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
def replay(
    bundles: tuple[Path, ...],
    rules: Path | None,
    sigma: tuple[Path, ...],
    against: Path | None,
    suppressions: Path | None,
    form: Format,
) -> int:
    """Judge stored runs again by other rules, and say what changes.

    BUNDLES are evidence bundles, or directories of them. Nothing is run: each bundle's evidence is read once and judged
    by both sets of rules. Rules by others (--sigma) are tried beside those of --rules, and not compared with.

    \b
    Examples:
      fumehood replay --rules ./my-rules ~/.local/share/fumehood/bundles
      fumehood replay --rules ./my-rules ~/.local/share/fumehood/evidence    what the service keeps
      fumehood replay --rules new --against old BUNDLE --format json
      fumehood replay --sigma ./sigma/rules/linux BUNDLES
    """
    from sandbox.replay_commands import replay_bundles

    return replay_bundles(bundles, rules=rules, sigma=sigma, against=against, suppressions=suppressions, form=form)


cli.add_command(rules_group)
cli.add_command(image_group)
cli.add_command(submit)
cli.add_command(queue)
cli.add_command(health)
cli.add_command(worker)
cli.add_command(up)
cli.add_command(config_group)
cli.add_command(serve)
cli.add_command(token)
cli.add_command(store_group)
cli.add_command(sweep_group)


@cli.group()
def pods() -> None:
    """Look after what pods leave in Docker."""


@pods.command()
def prune() -> int:
    """Remove containers that a crash left, and images of pods that no container uses.

    What runs that are going on use is left alone, and the next Docker pod makes the images that it needs again (in
    about ten seconds). Every start of a Docker pod removes containers that a crash left too; the embedded pod leaves
    nothing in Docker.
    """
    return docker_commands.prune_pods()


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def completion(shell: str) -> int:
    """Print the script that makes SHELL (bash, zsh or fish) complete fumehood's commands and options.

    \b
    bash: add to ~/.bashrc:                   source <(fumehood completion bash)
    zsh:  add to ~/.zshrc, after compinit:    source <(fumehood completion zsh)
    fish: add to ~/.config/fish/config.fish:  fumehood completion fish | source
    """
    return commands.completion(cli, shell)
