"""What a person at a terminal sees: progress while a run goes on, and its report."""

from __future__ import annotations

from sandbox.terminal.progress import LiveProgress, PlainProgress, Progress, QuietProgress, make_progress
from sandbox.terminal.report import render_report

__all__ = ["LiveProgress", "PlainProgress", "Progress", "QuietProgress", "make_progress", "render_report"]
