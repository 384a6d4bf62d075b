"""Whether there is room for the evidence of another run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.queue.work import runs_directory

if TYPE_CHECKING:
    from sandbox.config import Configuration


def free_mb(directory: Path) -> int:
    """MiB that are free where a directory is, or will be."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    disk = os.statvfs(there)
    return disk.f_bavail * disk.f_frsize >> 20


def evidence_room_mb(configuration: Configuration) -> int:
    """MiB that are free where evidence is written on this host: while it is made, and where it is kept."""
    places = [runs_directory(configuration)]
    if "://" not in configuration.evidence:
        places.append(Path(configuration.evidence).absolute())
    return min(map(free_mb, places))
