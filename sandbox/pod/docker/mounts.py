"""Parts of this machine's file system that a container sees. Not written as `A:B:ro`: a path may have colons in it."""

from __future__ import annotations

import sys
from pathlib import Path

import docker.types

from sandbox.pod.surroundings import our_code


def bind(source: Path | str, target: Path | str, *, writable: bool = False) -> docker.types.Mount:
    """Show a file or directory of this machine in a container; it must exist, else the engine refuses.

    Args:
        source: On this machine.
        target: In the container.
        writable: Read-only otherwise.
    """
    return docker.types.Mount(str(target), str(source), type="bind", read_only=not writable)


def python() -> list[docker.types.Mount]:
    """Our own Python with its libraries, its environment and our code, at the same paths, read-only, each once."""
    wanted = [Path("/usr"), Path("/etc/ld.so.cache")]
    wanted += [Path("/", name) for name in ("lib", "lib64") if not Path("/", name).is_symlink()]
    wanted += [Path(path) for path in (sys.base_prefix, sys.prefix, our_code())]
    shown: list[Path] = []
    # Shorter paths first: what lies in one that is shown already needs no mount of its own.
    for path in sorted(set(wanted), key=lambda path: len(path.parts)):
        if path.exists() and not any(path.is_relative_to(other) for other in shown):
            shown.append(path)
    return [bind(path, path) for path in shown]
