"""Run a distribution's commands: each console script with `--help`, with `--version` and with nothing.

Started as `/usr/bin/python3 -I -S /opt/fumehood/exerciser.py --result-fd N --each S --budget S NAME`.

Each command runs in a process group of its own with an empty standard input, and is ended after its time.
This root process never runs package code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fumehood_driver as driver

del sys.path[0]

if TYPE_CHECKING:
    from importlib.metadata import Distribution

COMMAND_LIMIT = 200
POLITE = 0.5


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to run."""

    label: str
    argv: tuple[str, ...]
    may_wait: bool
    """Without arguments a program may serve or wait for ever: ending it is not a gap in what was seen."""


def plan(distributions: list[Distribution], venv: str) -> list[Command]:
    """List what to run: the distributions' scripts, and its packages that `python -m` can run."""
    binaries = os.path.join(venv, "bin")
    files = [
        (path, distribution.locate_file(path)) for distribution in distributions for path in distribution.files or ()
    ]
    installed = {path.name for path, place in files if os.path.dirname(os.path.realpath(str(place))) == binaries}
    entries = [entry for distribution in distributions for entry in distribution.entry_points]
    declared = {entry.name for entry in entries if entry.group in ("console_scripts", "gui_scripts")}
    commands = []
    for name in sorted(installed | declared):
        path = os.path.join(binaries, name)
        if "/" not in name and os.path.isfile(path):
            commands.append(Command(f"{name} --help", (path, "--help"), may_wait=False))
            commands.append(Command(f"{name} --version", (path, "--version"), may_wait=False))
            commands.append(Command(name, (path,), may_wait=True))
    for file, _ in files:
        *directories, filename = file.parts
        if filename == "__main__.py" and directories and all(part.isidentifier() for part in directories):
            package = ".".join(directories)
            argv = (sys.executable, "-m", package)
            commands.append(Command(f"python -m {package} --help", (*argv, "--help"), may_wait=False))
            commands.append(Command(f"python -m {package}", argv, may_wait=True))
    return commands


def run(command: Command, seconds: float) -> str:
    """Run one command; return how it ended: `ended`, `crashed`, `stopped` (politely) or `killed`."""
    try:
        process = subprocess.Popen(command.argv, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=become_ordinary)
    except OSError:
        return "crashed"
    try:
        return "crashed" if process.wait(seconds) < 0 else "ended"
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGTERM)
    finally:
        if sys.exc_info()[0] is driver.Stopped:
            signal_group(process, signal.SIGKILL)
    try:
        process.wait(POLITE)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        process.wait()
        return "killed"
    return "stopped"


def become_ordinary() -> None:
    """Lift from the child what guards this process."""
    driver.set_dumpable(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a command's whole process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def exercise(commands: list[Command], coverage: driver.Coverage, each: float, end: float) -> None:
    """Run the commands one after the other until the budget is spent; fill in the coverage."""
    left = list(commands)
    try:
        while left and time.monotonic() < end:
            command = left[0]
            outcome = run(command, max(POLITE, min(each, end - time.monotonic())))
            left.pop(0)
            coverage.reached += 1
            if outcome == "crashed":
                coverage.failed.append(command.label)
            elif outcome == "killed" and not command.may_wait:
                coverage.reached -= 1
                coverage.timed_out.append(command.label)
    except driver.Stopped:
        pass  # the report says what is missing
    coverage.unreached.extend(command.label for command in left)


def main() -> int:
    """Run the command line; exit code 0 when the report is written, 3 when the distribution is not installed."""
    arguments = driver.parse_arguments(__doc__.partition("\n")[0])
    driver.guard_root(arguments.result_fd)
    venv, site_packages = driver.environment()
    distributions, _ = driver.find_distributions(arguments.distribution, site_packages)
    coverage = driver.Coverage("script")
    if not distributions:
        coverage.write(arguments.result_fd)
        print(f"{arguments.distribution} is not installed", file=sys.stderr)
        return 3
    commands = plan(distributions, venv)
    coverage.planned = len(commands)
    end = time.monotonic() + arguments.budget
    exercise(commands[:COMMAND_LIMIT], coverage, arguments.each, end)
    coverage.unreached.extend(command.label for command in commands[COMMAND_LIMIT:])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    coverage.write(arguments.result_fd)
    return 0


if __name__ == "__main__":
    sys.exit(main())
