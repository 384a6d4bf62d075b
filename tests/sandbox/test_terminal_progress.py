"""Progress: a live line on a terminal, plain lines elsewhere, nothing when quiet, and never a terminal left broken."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sandbox.terminal import LiveProgress, PlainProgress, Progress, QuietProgress, make_progress

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def make_console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(
        file=output, width=60, force_terminal=terminal, color_system="standard" if terminal else None
    ), output


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drawn(progress: LiveProgress) -> str:
    """The live line as text."""
    console, output = make_console(terminal=False)
    console.print(progress)
    return output.getvalue()


def run_through(progress: Progress) -> None:
    with progress:
        progress.step("fetching pkg:pypi/thing")
        progress.phase_started("install", 120)
        progress.phase_note("building\x1b[2J")
        progress.phase_ended("install", "completed", 1.25)
        progress.phase_started("import", 600)
        progress.phase_ended("import", "timed-out", 600.4)


def test_choice() -> None:
    terminal, pipe = make_console(terminal=True)[0], make_console(terminal=False)[0]
    assert type(make_progress(terminal)) is LiveProgress
    assert type(make_progress(pipe)) is PlainProgress
    assert type(make_progress(terminal, quiet=True)) is QuietProgress


def test_plain_lines() -> None:
    console, output = make_console(terminal=False)
    run_through(make_progress(console))
    assert output.getvalue().splitlines() == [
        "fetching pkg:pypi/thing",
        "install: started, at most 120 s",
        "install: completed after 1.2 s",
        "import: started, at most 600 s",
        "import: timed-out after 600 s",
    ]


def test_a_plain_line_is_one_line() -> None:
    console, output = make_console(terminal=False)
    PlainProgress(console).step("fetching " + "a" * 300 + "\r\nforged: clean\x1b[31m [red]x[/red] \u202e")
    assert output.getvalue() == "fetching " + "a" * 300 + "\\r\\nforged: clean\\x1b[31m [red]x[/red] \\u202e\n"


def test_quiet_writes_nothing() -> None:
    console, output = make_console(terminal=True)
    run_through(make_progress(console, quiet=True))
    assert output.getvalue() == ""


def test_live_line_shows_time_budget_and_note() -> None:
    clock = Clock()
    progress = LiveProgress(make_console(terminal=True)[0], clock)
    assert drawn(progress).strip() == ""
    progress.phase_started("import", 600)
    clock.now += 42.4
    progress.phase_note("120 of 240 modules")
    assert "import        42 of 600 s  120 of 240 modules" in drawn(progress)
    progress.step("sealing")
    clock.now += 1
    assert "sealing       1.0 s" in drawn(progress)
    assert "modules" not in drawn(progress)


def test_live_line_is_one_harmless_line() -> None:
    progress = LiveProgress(make_console(terminal=True)[0], Clock())
    progress.phase_started("import", 600)
    progress.phase_note("x\n\x1b[2J" + "long " * 100)
    (line,) = drawn(progress).rstrip("\n").split("\n")
    assert "\x1b" not in line
    assert len(line) <= 60


def test_live_leaves_lines_and_the_cursor() -> None:
    console, output = make_console(terminal=True)
    run_through(LiveProgress(console))
    text = output.getvalue()
    assert "timed-out" in text
    assert "1.2 s" in text
    assert "\x1b[2J" not in text
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)


def interrupted_run(progress: Progress) -> None:
    with progress:
        progress.phase_started("import", 600)
        raise KeyboardInterrupt


def test_an_error_ends_the_live_line() -> None:
    console, output = make_console(terminal=True)
    with pytest.raises(KeyboardInterrupt):
        interrupted_run(LiveProgress(console))
    assert output.getvalue().rindex(SHOW_CURSOR) > output.getvalue().rindex(HIDE_CURSOR)
