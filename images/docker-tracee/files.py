"""The files by which runners and process 1 answer the worker, and each other; all are root's."""

from __future__ import annotations

import json
from pathlib import Path

CONTROL, OUTPUT = Path("/fumehood/control"), Path("/fumehood/output")


class Sink:
    """A file that keeps the first bytes of what it is given."""

    def __init__(self, path: Path, limit: int) -> None:
        self.file = path.open("wb", buffering=0)
        self.limit = limit
        self.left = limit
        """Below zero: what was not kept."""

    def take(self, chunk: bytes) -> None:
        """Keep a piece, or what there is room for."""
        if self.left > 0:
            self.file.write(chunk[: self.left])
        self.left -= len(chunk)


def tracer_file(pid: int) -> Path:
    """The file in which process 1 leaves a tracer's exit code, if the kernel gives it to that one."""
    return CONTROL / f"tracer-{pid}"


def append(name: str, message: dict) -> None:
    """Append a line to a phase's status, at once and as a whole."""
    with (CONTROL / f"{name}.status").open("a", encoding="ascii") as status:
        status.write(json.dumps(message) + "\n")
