"""How many runs a host takes at one time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.profile import Profile

_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")
_SHARE: Final = 0.9
"""Of the memory, for runs; the rest is for everything else."""


def slots(profiles: Iterable[Profile]) -> int:
    """One run a processor, if memory allows all of them what their profile allows; at least one."""
    need = max((profile.limits.memory_mb + profile.limits.disk_mb) << 20 for profile in profiles)
    return max(1, min(len(os.sched_getaffinity(0)), int(_memory() * _SHARE) // need))


def _memory() -> int:
    """Bytes of the machine, or of the container that this is."""
    total = psutil.virtual_memory().total
    try:
        limit = _CGROUP.read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
