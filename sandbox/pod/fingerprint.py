"""What an answer about the tracer depends on, as text: programs of this machine, our own code, the kernel."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.resources import images_directory

if TYPE_CHECKING:
    from collections.abc import Iterable

_OURS = ("tracer.py", "system_calls.py", "system_calls.toml", "pod", "gateway")
"""Below `sandbox`: how a package is held, traced and answered; the known program is among it."""


def program(path: str) -> str:
    """What tells a program from the next version of it, and from another of its name.

    Args:
        path: Of the program, or its name on the system's PATH.

    Returns:
        Its real path, size and time of change; the path alone where there is no such file here.
    """
    found = shutil.which(path, path=os.defpath + ":/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin")
    if not found:
        return path
    real = Path(found).resolve()
    seen = real.stat()
    return f"{real}:{seen.st_size}:{seen.st_mtime_ns}"


def kernel() -> str:
    """The running kernel: release and build."""
    return f"{platform.release()} {platform.version()}"


def our_code() -> str:
    """Digest of all that decides how a package is traced and what is recorded of it."""
    here = Path(__file__).resolve().parents[1]
    roots = [here / name for name in _OURS] + sorted(images_directory().glob("docker-*"))
    return digest(path for root in roots for path in ([root] if root.is_file() else _sources(root)))


def _sources(root: Path) -> Iterable[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".pyc")


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over names and content of files, in the given order."""
    whole = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        whole.update(f"{path.name}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()
