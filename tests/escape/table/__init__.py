"""Every attempt that is made together with the others, by theme."""

from __future__ import annotations

from tests.escape.table import evidence, files, kernel, network, processes, watchers

ATTEMPTS = (
    *network.ATTEMPTS,
    *watchers.ATTEMPTS,
    *processes.ATTEMPTS,
    *kernel.ATTEMPTS,
    *files.ATTEMPTS,
    *evidence.ATTEMPTS,
)
