"""What `fumehood replay` does: stored runs judged again by other rules, and what that changes."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

import click
import msgspec
from rich.console import Console

from collector.bundle import MANIFEST, Bundle
from collector.errors import BundleError
from collector.replay import Comparison, replay
from collector.report import SigmaReport
from sandbox.commands import load_if_given
from sandbox.errors import UsageError
from sandbox.rules_commands import load_rules
from sandbox.terminal.replay import render_replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collector.sigma.rule import RuleSet
    from collector.suppressions import Suppressions

_SAME, _CHANGED, _UNREAD = 0, 1, 3
SCHEMA: Final = "fumehood.replay/1"
_SHAPES: Final = (f"*/{MANIFEST}", f"*/*/bundle/{MANIFEST}")
"""Where bundles lie in a directory of them: as `fumehood run` leaves them, and as the service keeps its evidence."""


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that could not be read."""

    bundle: str
    reason: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All bundles in a few numbers."""

    bundles: int
    """How many were read."""
    changed: int
    """How many of them are judged differently in any way."""
    verdicts: dict[str, int]
    """How many changed their verdict, by `before -> after`."""
    unread: int


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of `fumehood replay`."""

    schema: Literal["fumehood.replay/1"] = SCHEMA
    before_sha256: str
    """Digest of the rules compared with."""
    after_sha256: str
    """Digest of the rules that were tried."""
    sigma: SigmaReport
    """How many rules by others were tried, and how many cannot run here."""
    summary: Summary
    bundles: tuple[Comparison, ...]
    """In the order given, the unchanged ones too."""
    unread: tuple[Unread, ...]


def replay_bundles(  # noqa: PLR0913 - one for each option
    bundles: Sequence[Path],
    *,
    rules: Path | None,
    sigma: Sequence[Path],
    against: Path | None,
    suppressions: Path | None,
    form: Literal["text", "json"],
) -> int:
    """Judge bundles by two sets of rules and tell the differences.

    Args:
        bundles: Bundles, or directories of bundles.
        rules: Directory of the rules that are tried; the shipped ones when None.
        sigma: Directories of rules by others, which are tried too.
        against: Directory of the rules to compare with; the shipped ones when None.
        suppressions: File of findings that do not count.
        form: Form of the output.

    Returns:
        The exit code: 3 when a bundle could not be read, else 1 when anything changed, else 0.

    Raises:
        UsageError: There is nothing to try.
    """
    if rules is None and not sigma:
        raise UsageError("there are no rules to try; name a directory with --rules or --sigma")
    before, after = load_rules(against), load_rules(rules, sigma)
    made = _replayed(list(_expanded(bundles)), before, after, load_if_given(suppressions))
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    else:
        render_replay(made, Console(highlight=False))
    if made.unread:
        return _UNREAD
    return _CHANGED if made.summary.changed else _SAME


def _expanded(bundles: Sequence[Path]) -> Iterator[Path]:
    """Take each directory that is no bundle for a directory of bundles."""
    for path in bundles:
        inside = sorted(found.parent for shape in _SHAPES for found in path.glob(shape)) if path.is_dir() else []
        if inside and not (path / MANIFEST).exists():
            yield from inside
        else:
            yield path


def _replayed(bundles: Sequence[Path], before: RuleSet, after: RuleSet, suppressions: Suppressions) -> Replay:
    compared: list[Comparison] = []
    unread: list[Unread] = []
    if not bundles:
        raise UsageError("there is no bundle to replay; name bundles, or a directory of bundles")
    # Without a terminal the bar would be noise among the logs.
    hidden = not sys.stderr.isatty() or len(bundles) == 1
    with click.progressbar(bundles, label="replaying", file=sys.stderr, hidden=hidden, show_pos=True) as waiting:
        for path in waiting:
            try:
                compared.append(replay(Bundle.open(path), before, after, suppressions))
            except BundleError as error:
                unread.append(Unread(bundle=str(path), reason=str(error)))
    verdicts = Counter(
        f"{one.before.verdict} -> {one.after.verdict}" for one in compared if one.before.verdict != one.after.verdict
    )
    return Replay(
        before_sha256=before.digest,
        after_sha256=after.digest,
        sigma=SigmaReport.of(after),
        summary=Summary(
            bundles=len(compared),
            changed=sum(one.differs for one in compared),
            verdicts=dict(sorted(verdicts.items())),
            unread=len(unread),
        ),
        bundles=tuple(compared),
        unread=tuple(unread),
    )
