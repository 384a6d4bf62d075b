"""Shows what a run is doing: a live line on a terminal, one line a step elsewhere, or nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from sandbox.terminal.page import harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console

    from collector.manifest import PhaseStatus

_NAME_WIDTH: Final = 14
_REFRESHES: Final = 8
_STYLES: Final = {"completed": "green", "not-run": "dim"}


class Progress(Protocol):
    """What a run tells whoever watches. Used as a context manager, so that a live line never outlives an error."""

    def step(self, text: str) -> None:
        """Something that takes a while begins, e.g. `fetching`."""

    def phase_started(self, name: str, budget_s: float) -> None:
        """A phase begins and may take `budget_s` seconds."""

    def phase_note(self, text: str) -> None:
        """Say what the running phase is at; replaces the last note."""

    def phase_ended(self, name: str, status: PhaseStatus, seconds: float) -> None:
        """The phase ended after `seconds`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class QuietProgress:
    """Shows nothing."""

    def step(self, text: str) -> None:
        """Show nothing."""

    def phase_started(self, name: str, budget_s: float) -> None:
        """Show nothing."""

    def phase_note(self, text: str) -> None:
        """Show nothing."""

    def phase_ended(self, name: str, status: PhaseStatus, seconds: float) -> None:
        """Show nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class PlainProgress(QuietProgress):
    """A line when something begins or ends; notes are left out, as they would fill a log."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, text: str) -> None:
        """Write the step."""
        self._line(self._words(text))

    def phase_started(self, name: str, budget_s: float) -> None:
        """Write the phase's name and budget."""
        self._line(self._words(f"{name}: started, at most {_seconds(budget_s)}"))

    def phase_ended(self, name: str, status: PhaseStatus, seconds: float) -> None:
        """Write how the phase ended."""
        self._line(self._words(f"{name}: {status} after {_seconds(seconds)}"))

    def _words(self, words: str) -> Text:
        return Text(harmless(words, ascii_only=self._console.options.ascii_only))

    def _line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True, highlight=False)


class LiveProgress(PlainProgress):
    """A spinner with the running step or phase, its time and its note; what is over stays as a line above."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._spinner = Spinner("dots" if not console.options.ascii_only else "line", style="cyan")
        self._live = Live(self, console=console, refresh_per_second=_REFRESHES, transient=True)
        self._doing = ""
        self._note = ""
        self._budget = 0.0
        self._since = 0.0

    def step(self, text: str) -> None:
        """Make `text` the live line."""
        self._begin(text, 0.0)

    def phase_started(self, name: str, budget_s: float) -> None:
        """Make the phase the live line."""
        self._begin(name, budget_s)

    def phase_note(self, text: str) -> None:
        """Put `text` at the end of the live line."""
        self._note = text

    def phase_ended(self, name: str, status: PhaseStatus, seconds: float) -> None:
        """Leave a line that says how the phase ended."""
        self._begin("", 0.0)
        line = self._words(f"  {name:<{_NAME_WIDTH}}")
        line.append(f"{status:<{_NAME_WIDTH}}", style=_STYLES.get(status, "bold yellow"))
        line.append_text(self._words(_seconds(seconds)))
        self._line(line)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __rich__(self) -> Group:
        """Draw the live line as it is now; called by the refreshing thread."""
        if not self._doing:
            return Group()
        line = self._words(f"{self._doing:<{_NAME_WIDTH - 2}}  ")
        elapsed = self._clock() - self._since
        time_spent = f"{elapsed:.0f} of {_seconds(self._budget)}" if self._budget else _seconds(elapsed)
        line.append(time_spent, style="cyan")
        if self._note:
            line.append("  ")
            line.append_text(self._words(self._note))
        # One line whatever the note is: a line that wraps cannot be redrawn in place.
        line.truncate(max(self._console.width - 4, 10), overflow="ellipsis")
        self._spinner.update(text=line)
        return Group(self._spinner)

    def _begin(self, doing: str, budget: float) -> None:
        self._doing, self._note, self._budget, self._since = doing, "", budget, self._clock()


def make_progress(console: Console, *, quiet: bool = False) -> Progress:
    """Choose how to show progress on `console`, which should be the one of standard error."""
    if quiet:
        return QuietProgress()
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one decimal while it says something
