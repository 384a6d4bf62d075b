"""What `fumehood store add|export|verify|prune|rebuild` do."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click
import msgspec

from sandbox.commands import load_if_given
from sandbox.errors import UsageError
from sandbox.evidence import open_evidence
from sandbox.evidence.archive import archive_name
from sandbox.rules_commands import load_rules
from sandbox.service_commands import prepare
from sandbox.standard_output import write
from sandbox.store.prune import plan_pruning, prune
from sandbox.store.rebuild import Plan, Rebuild, rebuild
from sandbox.store.record import take_in
from sandbox.store.uploads import prune_uploads
from sandbox.store.verify import Fault, names, verify
from sandbox.store_commands import to_json
from sandbox.terminal.page import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from sandbox.config import Configuration
    from sandbox.store.retention import Pruning

Format: TypeAlias = Literal["text", "json"]
_FAULTS, _UNREAD = 1, 3
_SHOWN: Final = 20
"""Bad bundles that are told one by one; `--format json` has more."""
_MIB: Final = 1 << 20
_DAY_S: Final = 86_400


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of `fumehood store verify`."""

    schema: Literal["fumehood.verified/1"] = "fumehood.verified/1"
    runs: int
    faults: tuple[Fault, ...]


def add_bundles(
    configuration: Configuration, bundles: Sequence[Path], rules: Path | None, suppressions: Path | None
) -> int:
    """Take bundles in."""
    engine, evidence = prepare(configuration), open_evidence(configuration.evidence)
    loaded, given = load_rules(rules), load_if_given(suppressions)
    for bundle in bundles:
        report = take_in(engine, evidence, bundle, loaded, given)
        write([f"{report.manifest.run} {report.verdict} {harmless(report.package.purl)}\n".encode()])
    return 0


def export_run(configuration: Configuration, run: str, output: Path | None) -> int:
    """Write a run's evidence as a zip file."""
    with open_evidence(configuration.evidence).archive(run) as archive:
        output = output or Path(archive_name(run))
        try:
            with output.open("wb") as file:
                shutil.copyfileobj(archive, file)
        except OSError as error:
            raise UsageError(f"cannot write {output}: {error.strerror}; choose another --output") from error
    click.echo(f"{output}: unpack it, then `fumehood report {run}`", err=True)
    return 0


def verify_runs(configuration: Configuration, runs: Sequence[str], form: Format) -> int:
    """Verify evidence."""
    engine, evidence = prepare(configuration), open_evidence(configuration.evidence)
    chosen = list(runs) or names(engine, evidence)
    faults: list[Fault] = []
    with _bar(len(chosen), "verifying") as bar:
        for fault in verify(engine, evidence, chosen):
            bar.update(1)
            if fault is not None:
                faults.append(fault)
    if form == "json":
        write([to_json(Verified(runs=len(chosen), faults=tuple(faults)))])
    else:
        for fault in faults:
            write([f"{fault.fault:<12} {harmless(fault.message)}\n".encode()])
        write([f"{len(chosen)} runs verified: {len(faults)} faults\n".encode()])
    return _FAULTS if faults else 0


def prune_evidence(configuration: Configuration, form: Format, *, dry_run: bool) -> int:
    """Remove evidence, or say what would be removed."""
    engine, now = prepare(configuration), time.time()
    pruning = plan_pruning(engine, configuration.retention, now)
    if form == "json":
        write([to_json(pruning)])
    else:
        write(f"{line}\n".encode() for line in _told(pruning, dry_run=dry_run))
    if not dry_run:
        evidence = open_evidence(configuration.evidence)
        with _bar(len(pruning.removals), "removing") as bar:
            removed = prune(engine, evidence, pruning, now, lambda: bar.update(1))
        click.echo(f"{removed} bundles removed", err=True)
        if days := configuration.retention.upload_days:
            uploads = prune_uploads(engine, evidence, configuration.uploads, now - days * _DAY_S)
            click.echo(f"{uploads} uploads removed", err=True)
    return 0


def _told(pruning: Pruning, *, dry_run: bool) -> list[str]:
    lines = [f"{it.run}  {it.size / _MIB:8.1f} MiB  {harmless(it.purl)}: {it.reason}" for it in pruning.removals]
    freed = sum(it.size for it in pruning.removals) / _MIB
    lines.append(
        f"{len(pruning.removals)} bundles ({freed:,.1f} MiB) {'would go' if dry_run else 'go'}, "
        f"{pruning.kept} ({pruning.kept_bytes / _MIB:,.1f} MiB) stay, {pruning.labelled} of them for their labels alone"
    )
    if pruning.too_much:
        lines.append(
            f"that is {pruning.too_much / _MIB:,.1f} MiB more than `retention.most_gb` allows, in evidence that is "
            "malicious or labelled; allow more, or take labels away"
        )
    return lines


def rebuild_rows(  # noqa: PLR0913 - the options of the command
    configuration: Configuration,
    *,
    rules: Path | None,
    suppressions: Path | None,
    jobs: int | None,
    restart: bool,
    form: Format,
) -> int:
    """Make the rows of all runs again."""
    plan = Plan(
        evidence=configuration.evidence,
        rules=rules,
        suppressions=suppressions,
        jobs=jobs or len(os.sched_getaffinity(0)),
        restart=restart,
    )
    with _bar(0, "rebuilding") as bar:

        def show(state: Rebuild, total: int) -> None:
            bar.length = total
            bar.update(state.done + state.bad - bar.pos)

        made = rebuild(prepare(configuration), plan, time.time(), show)
    if form == "json":
        write([to_json(made)])
    else:
        for failure in made.failures[:_SHOWN]:
            click.echo(f"unread: {harmless(failure.reason)}", err=True)
        if made.bad > _SHOWN:
            click.echo(f"... and {made.bad - _SHOWN} more (--format json)", err=True)
        write([f"{made.done} runs rebuilt, {made.bad} bundles could not be read\n".encode()])
    return _UNREAD if made.bad else 0


def _bar(length: int, label: str) -> AbstractContextManager[Any]:
    # Without a terminal the bar would be noise among the logs.
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty(), show_pos=True)
