"""What the importer and the exerciser share: guarding their root process, and the one report they write."""

from __future__ import annotations

import argparse
import ctypes
import errno
import importlib.metadata
import json
import os
import re
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PR_SET_DUMPABLE = 4
LISTED = 2000
NAME_LENGTH = 200
REASON_LENGTH = 200


class Stopped(Exception):  # noqa: N818 - not an error
    """The worker sent SIGTERM: report what there is."""


@dataclass(slots=True)
class Coverage:
    """How far the driver came, unit by unit."""

    unit: str
    planned: int = 0
    reached: int = 0
    failed: list[str] = field(default_factory=list)
    timed_out: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)

    def write(self, descriptor: int) -> None:
        """Write the one JSON object of this run to the result descriptor."""
        report = {"unit": self.unit, "planned": self.planned, "reached": self.reached}
        for name in ("failed", "timed_out", "unreached"):
            report[name] = [printable(text, NAME_LENGTH + REASON_LENGTH) for text in getattr(self, name)[:LISTED]]
        data = json.dumps(report).encode()
        while data:
            data = data[os.write(descriptor, data) :]


def printable(text: str, length: int) -> str:
    """Cut to a length and replace what is not plain printable ASCII."""
    if len(text) > length:
        text = text[: length - 3] + "..."
    return re.sub(r"[^ -~]", "?", text)


def parse_arguments(description: str) -> argparse.Namespace:
    """Read the command line both drivers take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--result-fd", type=int, required=True, help="where the report goes, already open")
    parser.add_argument("--each", type=float, required=True, help="seconds a unit may take")
    parser.add_argument("--budget", type=float, required=True, help="seconds all of it may take")
    parser.add_argument("distribution", help="name of the installed distribution")
    return parser.parse_args()


def set_dumpable(value: int) -> None:
    """Allow (1) or forbid (0) processes of the same user to look into this one or its descriptors."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, value, 0, 0, 0)


def guard_root(result_fd: int) -> None:
    """Close the root process to its hostile descendants, and turn SIGTERM into a report."""
    set_dumpable(0)
    os.set_inheritable(result_fd, False)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    if empty:
        os.close(empty)

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


def follow(pid: int) -> tuple[int, bool]:
    """Open a descriptor that stands for a process, whoever gets its number later; and say whether it can be polled.

    gVisor of 2022 has no pidfd_open. An open file of the process below /proc stands for it as well, but has to be read.
    """
    try:
        return os.pidfd_open(pid), True
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    return os.open(f"/proc/{pid}/stat", os.O_RDONLY), False


def has_ended(stat: int) -> bool:
    """Read the open `stat` of a process; a main thread that has ended before the others does not count."""
    try:
        words = os.pread(stat, 4096, 0).rpartition(b")")[2].split()
    except ProcessLookupError:
        return True
    return words[0] == b"X" or (words[0] == b"Z" and int(words[17]) <= 1)


def environment() -> tuple[str, str]:
    """Return the virtual environment's directory and its site-packages; children use its interpreter.

    This process runs under the image's own interpreter, which no package can change.
    """
    venv = os.environ["VIRTUAL_ENV"]
    sys.executable = os.path.join(venv, "bin", "python")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return venv, os.path.join(venv, "lib", version, "site-packages")


def find_distributions(
    name: str, site_packages: str
) -> tuple[list[importlib.metadata.Distribution], list[importlib.metadata.Distribution]]:
    """Return the installed distributions of this name (any spelling; a package may bring several), and all others."""
    wanted = canonical(name)
    found: list[importlib.metadata.Distribution] = []
    others: list[importlib.metadata.Distribution] = []
    for distribution in importlib.metadata.distributions(path=[site_packages]):
        named = canonical(distribution.metadata["Name"] or "") == wanted
        (found if named else others).append(distribution)
    return found, others


def canonical(name: str) -> str:
    """Normalise a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
