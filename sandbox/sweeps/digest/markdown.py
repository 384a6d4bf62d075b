"""The digest in Markdown, for chat, mail and issues.

Whatever a package, an index or a feed wrote stands in code spans: there no link, mention, image or markup is taken
from it, and what is invisible is made visible.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox.sweeps.digest.shown import compared, headline, instant, news, summary
from sandbox.terminal.page import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sandbox.sweeps.digest.model import (
        BadPart,
        ChangePart,
        Digest,
        FindingPart,
        PackagePart,
        ProblemPart,
        SweepPart,
    )

    T = TypeVar("T")

_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")


def render_markdown(digest: Digest) -> str:
    """The digest as CommonMark, ending with a line end."""
    return "\n".join(_lines(digest)) + "\n"


def code(text: str) -> str:
    """A code span that holds exactly the text, on one line, whatever it holds."""
    shown = harmless(text) or "(empty)"
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    # A space at both ends is taken away again when the span is read.
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def plain(text: str) -> str:
    """Text of our own, every character of which stands for itself."""
    return _PUNCTUATION.sub(r"\\\1", harmless(text))


def _lines(digest: Digest) -> Iterator[str]:
    more = digest.left_out
    yield f"# Sweeps, {instant(digest.since)} to {instant(digest.until)}"
    yield ""
    yield f"{summary(digest)}."
    yield from _section("New and bad", digest.bad, more["bad"], "Nothing malicious or suspicious.", _bad)
    yield from _section("Changed behaviour", digest.changed, more["changed"], "None acts otherwise.", _change)
    yield ""
    yield compared(digest)
    yield from _section("Not known", digest.unknown, more["unknown"], "Every run was seen whole.", _problem)
    yield from _section("Sweeps", digest.sweeps, 0, "No sweep ran.", _sweep)


def _section(
    title: str, parts: Sequence[T], more: int, none: str, render: Callable[[T], Iterator[str]]
) -> Iterator[str]:
    yield ""
    yield f"## {title}{f' ({len(parts) + more:,})' if parts else ''}"
    yield ""
    if not parts:
        yield none
    for part in parts:
        yield from render(part)
    if more:
        yield f"- and {more:,} more"


def _bad(part: BadPart) -> Iterator[str]:
    kind = f" ({plain(part.classification)})" if part.classification else ""
    yield f"- **{part.verdict}**{kind} {_package(part)}, {news(part)}"
    for reason in part.reasons:
        yield f"  - {code(reason)}"
    for finding in part.findings:
        yield f"  - {_finding(finding)}"


def _change(part: ChangePart) -> Iterator[str]:
    rules = "; judged by other rules" if part.other_rules else ""
    yield f"- {_package(part)}, {part.verdict}; before {code(part.previous)}, {part.previous_verdict}{rules}"
    for finding in part.gained:
        yield f"  - new: {_finding(finding)}"
    for finding in part.lost:
        yield f"  - no longer: {_finding(finding)}"
    if part.contacts:
        yield f"  - new: contacts {', '.join(map(code, part.contacts))}"


def _problem(part: ProblemPart) -> Iterator[str]:
    yield f"- {part.problem}: {_package(part)}"
    for reason in part.reasons:
        yield f"  - {code(reason)}"


def _sweep(part: SweepPart) -> Iterator[str]:
    yield f"- {code(part.sweep)} {headline(part)}"
    if part.reason:
        yield f"  - {code(part.reason)}"
    if part.bad:
        yield f"  - {part.bad:,} entries of the feed could not be read"
    for note in part.notes:
        yield f"  - {code(note)}"
    for reason, count in part.passed_over.items():
        yield f"  - {count:,} not run: {code(reason)}"


def _package(part: PackagePart) -> str:
    run = f", run {code(part.run)}" if part.run else ""
    return f"{code(part.purl)} ({part.artefact}; sweep {code(part.sweep)}: {code(part.why)}{run})"


def _finding(finding: FindingPart) -> str:
    attack = f" {' '.join(map(plain, finding.attack))}" if finding.attack else ""
    return f"{plain(finding.level)}: {plain(finding.title)} ({code(finding.name)}{attack})"
