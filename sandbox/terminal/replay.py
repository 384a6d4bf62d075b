"""Renders what other rules change: the bundles that are judged differently, then the sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.terminal.page import Page

if TYPE_CHECKING:
    from rich.console import Console

    from collector.replay import Comparison, Found
    from sandbox.replay_commands import Replay


def render_replay(replay: Replay, console: Console) -> None:
    """Write the differences to `console`; bundles without any are only counted.

    Args:
        replay: The comparisons. Their strings may come from packages and are made harmless.
        console: Where to write.
    """
    page = Page(console)
    for comparison in replay.bundles:
        if comparison.differs:
            _comparison(page, comparison)
    for missed in replay.unread:
        page.line(page.text(("not read: ", "bold yellow"), missed.reason))
    total = replay.summary
    verdicts = "".join(f"; {number} {change}" for change, number in total.verdicts.items())
    unread = f"; {total.unread} could not be read" if total.unread else ""
    noun = "bundle" if total.bundles == 1 else "bundles"
    page.line(page.text(f"{total.bundles} {noun}, {total.changed} judged differently{verdicts}{unread}"))
    if replay.sigma.loaded or replay.sigma.skipped:
        skipped = f"; {replay.sigma.skipped} cannot run here" if replay.sigma.skipped else ""
        rules = "rule" if replay.sigma.loaded == 1 else "rules"
        page.line(page.text(f"{replay.sigma.loaded} {rules} by others tried{skipped}"))


def _comparison(page: Page, one: Comparison) -> None:
    same = one.before.verdict == one.after.verdict
    verdict = one.after.verdict if same else f"{one.before.verdict} -> {one.after.verdict}"
    page.line(page.text((one.purl, "bold"), f"  {one.kind}  ", (verdict, "" if same else "bold")))
    page.line(page.text((one.bundle, "dim")), 1)
    if one.before.classification != one.after.classification:
        before, after = (name or "none" for name in (one.before.classification, one.after.classification))
        page.line(page.text(f"classification {before} -> {after}"), 1)
    for sign, style, findings in (("+", "red", one.added), ("-", "green", one.removed)):
        for found in findings:
            page.line(page.text((f"{sign} ", style), _told(found)), 1)
    for change in one.changed:
        page.line(page.text(("~ ", "yellow"), f"{_told(change.before)} -> {_short(change.after)}"), 1)


def _told(found: Found) -> str:
    return f"{found.name}: {found.title} ({found.phase} by {found.actor}), {_short(found)}"


def _short(found: Found) -> str:
    return f"{found.count:,} {'event' if found.count == 1 else 'events'}, {found.level} as {found.weight}"
