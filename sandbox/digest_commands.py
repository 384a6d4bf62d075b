"""What `fumehood sweep digest` does."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import click
import msgspec

from sandbox.errors import UsageError
from sandbox.service_commands import prepare
from sandbox.standard_output import write
from sandbox.sweeps.digest.gather import gather, to_json
from sandbox.sweeps.digest.markdown import render_markdown
from sandbox.sweeps.digest.page import render_html
from sandbox.sweeps.digest.publish import tell
from sandbox.sweeps.load import pick
from sandbox.webhooks.receivers import load_receivers, receiver_of

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.sweeps_commands import Given

_SPAN: Final = re.compile(r"([0-9]{1,4})([hd])")
_UNITS: Final = {"h": 3_600.0, "d": 86_400.0}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time as the command line says it."""

    since: str
    until: str | None

    def resolve(self, now: float) -> tuple[float, float]:
        """Beginning and end, UTC seconds since the epoch.

        Raises:
            UsageError: It cannot be understood, or ends before it begins.
        """
        until = now if self.until is None else _instant(self.until)
        words = _SPAN.fullmatch(self.since)
        since = until - int(words[1]) * _UNITS[words[2]] if words else _instant(self.since)
        if since >= until:
            raise UsageError(f"the span from {self.since} to {self.until or 'now'} is empty; choose another --since")
        return since, until


def send_digest(given: Given, name: str | None, span: Span, url: str) -> int:
    """Have a webhook told a digest."""
    configuration, now = given.configuration, time.time()
    receiver_of(load_receivers(configuration.webhooks), url)
    engine = prepare(configuration)
    since, until = span.resolve(now)
    made = gather(engine, since, until, pick(given.load(), name).name if name else None)
    click.echo(f"`fumehood serve` delivers it as {tell(engine, made, url, now)}", err=True)
    return 0


def digest_sweeps(
    given: Given, name: str | None, span: Span, form: Literal["markdown", "html", "json"], output: Path | None
) -> int:
    """Print a digest."""
    since, until = span.resolve(time.time())
    made = gather(prepare(given.configuration), since, until, pick(given.load(), name).name if name else None)
    match form:
        case "json":
            write([to_json(made)], output)
        case "html":
            write([render_html(made).encode()], output)
        case "markdown":
            write([render_markdown(made).encode()], output)
    return 0


def _instant(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text[:40]!a} is no instant; write 2026-11-28T07:00Z, or hours or days such as 24h"
        ) from error
    # One without a time zone is UTC, as everything that is printed.
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
