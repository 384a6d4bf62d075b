"""The commands `fumehood store ...`; what they do is in `sandbox.store_commands` and `sandbox.store_upkeep`."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

import click

from sandbox import service_completion as offered
from sandbox.completion import directories, rule_names
from sandbox.rules_cli import RULES
from sandbox.service_cli import CONFIG, configured

if TYPE_CHECKING:
    from collector.verdict import VerdictName

Format: TypeAlias = Literal["text", "json"]
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
_SUPPRESSIONS = click.option(
    "--suppressions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="FUMEHOOD_SUPPRESSIONS",
    show_envvar=True,
    help="YAML file of findings that do not count (docs/suppressions.md).",
)


def _you() -> str:
    from sandbox.queue_commands import user

    return user()


@click.group()
def store() -> None:
    """Look at the runs that were kept, and look after their evidence (docs/store.md).

    Evidence bundles are the truth. The database knows what is in them, and can be rebuilt from them at any time.
    """


@store.command()
@click.argument("package", default="")
@click.option("--version", "version_", default="", help="Only this version of PACKAGE.")
@click.option("--sha256", default="", help="Of the artefact, or of a file that it left behind.")
@click.option(
    "--indicator", "-i", default="", help="A domain (and all below it), address, URL or SHA-256 that was seen."
)
@click.option("--rule", default="", shell_complete=rule_names, help="Name or Sigma id of a rule that fired.")
@click.option("--technique", default="", help="ATT&CK technique, for example T1552 or T1552.001.")
@click.option(
    "--verdict",
    "verdicts",
    multiple=True,
    type=click.Choice(["malicious", "suspicious", "inconclusive", "clean"]),
    help="Only runs with this verdict (repeatable).",
)
@click.option("--label", default="", help="Only runs with this label.")
@click.option("--profile", default="", help="Only runs under this profile.")
@click.option("--since", default="", help="Only runs begun then or later: a date, a UTC time, or an age (12h, 7d).")
@click.option("--until", default="", help="Only runs begun before then; likewise.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Most runs to list.")
@click.option("--cursor", default="", help="Go on where an earlier page ended; it told where.")
@_FORMAT
@CONFIG
def search(
    package: str,
    version_: str,
    sha256: str,
    indicator: str,
    rule: str,
    technique: str,
    verdicts: tuple[VerdictName, ...],
    label: str,
    profile: str,
    since: str,
    until: str,
    limit: int,
    cursor: str,
    form: Format,
    config: Path | None,
) -> int:
    """List runs, the newest first; all conditions that are given must hold.

    PACKAGE is a name, the beginning of one (`requ*`), or a purl.

    \b
    Examples:
      fumehood store search --verdict malicious --since 7d
      fumehood store search pkg:pypi/requests@2.32.3
      fumehood store search --indicator evil[.]example --format json
    """
    from sandbox.store_commands import Asked, search_runs

    asked = Asked(
        package=package,
        version=version_,
        sha256=sha256,
        indicator=indicator,
        rule=rule,
        technique=technique,
        verdicts=verdicts,
        label=label,
        profile=profile,
        since=since,
        until=until,
    )
    return search_runs(configured(config), asked, cursor=cursor, limit=limit, form=form)


@store.command()
@click.argument("run", shell_complete=offered.runs)
@_FORMAT
@CONFIG
def show(run: str, form: Format, config: Path | None) -> int:
    """Show what is kept of RUN: verdict, findings and how rare they are, indicators, labels, its evidence."""
    from sandbox.store_commands import show_run

    return show_run(configured(config), run, form)


@store.command()
@click.argument("label")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=offered.runs)
@click.option("--note", default="", help="Why.")
@click.option("--author", default=_you, show_default="you", help="Who says so.")
@click.option("--remove", is_flag=True, help="Take the label away.")
@CONFIG
def label(label: str, runs: tuple[str, ...], note: str, author: str, remove: bool, config: Path | None) -> int:
    """Say LABEL of each RUN. The evidence of labelled runs is never pruned.

    Runs labelled `known-good` are those by which the rarity of findings is measured.

    \b
    Examples:
      fumehood store label known-good 6142a2bbd8aef189 --note "reviewed by hand"
      fumehood store label false-positive 6142a2bbd8aef189
    """
    from sandbox.store_commands import label_runs

    return label_runs(configured(config), label, runs, note=note, author=author, remove=remove)


@store.group()
def labels() -> None:
    """Keep labels outside the database: they are in no evidence, so that a rebuild alone cannot bring them back."""


@labels.command("export")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File; else standard output.")
@CONFIG
def export_labels(output: Path | None, config: Path | None) -> int:
    """Write all labels of all runs as JSON lines: run, label, note, author, and when it was said.

    \b
    Example, each night beside the backup of the evidence:
      fumehood store labels export -o /backup/labels.jsonl
    """
    from sandbox.label_commands import export_labels

    return export_labels(configured(config), output)


@labels.command("import")
@click.argument("file", type=click.File("rb"))
@CONFIG
def import_labels(file: IO[bytes], config: Path | None) -> int:
    """Put the labels of FILE back, which `fumehood store labels export` wrote (- for standard input).

    A label that the run has already stays if it was said then or later. Runs need not be there yet: before or after
    `fumehood store rebuild`, the outcome is the same.
    """
    from sandbox.label_commands import import_labels

    return import_labels(configured(config), file)


@store.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), shell_complete=directories)
@RULES
@_SUPPRESSIONS
@CONFIG
def add(bundles: tuple[Path, ...], rules: Path | None, suppressions: Path | None, config: Path | None) -> int:
    """Take BUNDLES of `fumehood run` into the store. They are copied; what they were is left where it is."""
    from sandbox.store_upkeep import add_bundles

    return add_bundles(configured(config), bundles, rules, suppressions)


@store.command()
@click.argument("run", shell_complete=offered.runs)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else fumehood-RUN.zip."
)
@CONFIG
def export(run: str, output: Path | None, config: Path | None) -> int:
    """Write the evidence of RUN as one zip file, verified: the same bytes each time.

    It holds hostile text and the run's bait. Unpacked, it is a bundle for `fumehood report`.
    """
    from sandbox.store_upkeep import export_run

    return export_run(configured(config), run, output)


@store.command(
    epilog="""
\b
Exit codes:
  0  everything is as it was stored
  1  something is damaged, missing, or not as the database says
"""
)
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=offered.runs)
@_FORMAT
@CONFIG
def verify(runs: tuple[str, ...], form: Format, config: Path | None) -> int:
    """Verify the evidence of each RUN (of all, if none is named): every digest, and that rows and evidence agree."""
    from sandbox.store_upkeep import verify_runs

    return verify_runs(configured(config), runs, form)


@store.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@_FORMAT
@CONFIG
def prune(dry_run: bool, form: Format, config: Path | None) -> int:
    """Remove evidence that need not be kept, as `retention` in the configuration says: by verdict and age, by size.

    The rows of runs stay, and say when and why the evidence went. Labelled runs keep theirs.
    """
    from sandbox.store_upkeep import prune_evidence

    return prune_evidence(configured(config), form, dry_run=dry_run)


@store.command(
    epilog="""
\b
Exit codes:
  0  all rows were made again
  3  some bundles could not be read; the others were
"""
)
@click.option("--jobs", "-j", type=click.IntRange(1, 256), help="Processes; as many as processors, if not given.")
@click.option("--restart", is_flag=True, help="Begin anew, even if an earlier rebuild did not come to its end.")
@RULES
@_SUPPRESSIONS
@_FORMAT
@CONFIG
def rebuild(
    jobs: int | None,
    restart: bool,
    rules: Path | None,
    suppressions: Path | None,
    form: Format,
    config: Path | None,
) -> int:
    """Make the rows of all runs again from their evidence: after the database was lost, or when the rules are new.

    A rebuild that was interrupted goes on where it was. Labels stay, and so do rows whose evidence is gone.
    """
    from sandbox.store_upkeep import rebuild_rows

    return rebuild_rows(
        configured(config), rules=rules, suppressions=suppressions, jobs=jobs, restart=restart, form=form
    )
