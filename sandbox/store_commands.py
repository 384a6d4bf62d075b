"""What `fumehood store search|show|label` do."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import click
import msgspec
from rich.console import Console

from collector.store.labels import Label, put_label, remove_label
from collector.store.runs import get_run
from collector.store.search import Search, search
from collector.verdict import VerdictName
from sandbox.database import writing
from sandbox.errors import UsageError
from sandbox.service_commands import prepare
from sandbox.standard_output import write
from sandbox.terminal.runs import render_run, render_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.config import Configuration

Format: TypeAlias = Literal["text", "json"]
_AGE: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions as they are written on the command line."""

    package: str
    version: str
    sha256: str
    indicator: str
    rule: str
    technique: str
    verdicts: tuple[VerdictName, ...]
    label: str
    profile: str
    since: str
    until: str


def search_runs(configuration: Configuration, asked: Asked, *, cursor: str, limit: int, form: Format) -> int:
    """List runs."""
    now = time.time()
    written = msgspec.structs.asdict(asked)
    times = {name: moment(text, now) if (text := written.pop(name)) else None for name in ("since", "until")}
    wanted = msgspec.convert(written | times, Search)
    with prepare(configuration).connect() as connection:
        page = search(connection, wanted, cursor=cursor, limit=limit)
    if form == "json":
        write([to_json(page)])
        return 0
    render_runs(page.runs, Console(highlight=False))
    if not page.runs:
        click.echo("no run is like that", err=True)
    elif page.cursor:
        click.echo(f"there are more: --cursor {page.cursor}", err=True)
    return 0


def show_run(configuration: Configuration, run: str, form: Format) -> int:
    """Show a run."""
    with prepare(configuration).connect() as connection:
        detail = get_run(connection, run)
    if detail is None:
        raise UsageError(f"there is no run {run[:40]!a}; `fumehood store search` lists them")
    if form == "json":
        write([to_json(detail)])
    else:
        render_run(detail, Console(highlight=False))
    return 0


def label_runs(  # noqa: PLR0913 - the options of the command
    configuration: Configuration, label: str, runs: Sequence[str], *, note: str, author: str, remove: bool
) -> int:
    """Label runs, all of them or none."""
    given = Label(label=label, note=note, author=author, created=time.time())
    with writing(prepare(configuration)) as connection:
        for run in runs:
            done = remove_label(connection, run, label) if remove else put_label(connection, run, given)
            if not done:
                what = f"run {run[:40]!a} has no label {label!a}" if remove else f"there is no run {run[:40]!a}"
                raise UsageError(f"{what}; nothing was changed, and `fumehood store search` lists runs")
    many = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    click.echo(f"{label}: {'taken from' if remove else 'said of'} {many}", err=True)
    return 0


def moment(text: str, now: float) -> float:
    """Seconds since the epoch of a date, a time, or an age.

    Raises:
        UsageError: It is none of these.
    """
    if age := _AGE.fullmatch(text):
        return now - int(age[1]) * _UNITS[age[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text[:40]!a} is no time; write 2026-11-28, 2026-11-28T17:30, or an age: 12h, 7d") from error
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def to_json(document: object) -> bytes:
    """Indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
