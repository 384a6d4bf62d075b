"""The command of a phase, as its runner starts it."""

from __future__ import annotations

import os
import signal
from fcntl import F_DUPFD, fcntl

HIGH = 64
"""Above every descriptor that a phase's command is given."""


def start(plan: dict, writers: dict[str, int]) -> None:
    """Become the tracer's command; never returns."""
    try:
        # High numbers first, so that nothing is overwritten before it is moved.
        moved = {kind: fcntl(writer, F_DUPFD, HIGH) for kind, writer in writers.items()}
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(moved["stdout"], 1)
        os.dup2(moved["stderr"], 2)
        keep = 3
        if plan["reports"]:
            os.dup2(moved["result"], plan["result_fd"])
            keep = plan["result_fd"] + 1
        os.closerange(keep, 4 * HIGH)
        os.chdir(plan["directory"])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execve(plan["command"][0], plan["command"], plan["environment"])
    finally:
        os._exit(127)
