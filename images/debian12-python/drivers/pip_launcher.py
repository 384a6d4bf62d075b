"""Run the image's pip inside a virtual environment without running anything the environment contains.

Started as `/usr/bin/python3 -I -S /opt/fumehood/pip_launcher.py <pip arguments>` with VIRTUAL_ENV set. The
environment's own interpreter would execute the `.pth` files of every installed package in pip's own process, and
take its standard library from where a package's `pyvenv.cfg` says; here pip sees the same environment, yet its
process never runs a package's code, so what it does is the installer's doing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

INTERPRETER = "/usr/bin/python3"
PR_SET_DUMPABLE = 4
ONLY_PIP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "only-pip")


def enter_environment() -> None:
    """Make `sys` look as `site` would have made it for this virtual environment, `.pth` files left aside."""
    venv = os.environ.get("VIRTUAL_ENV", "")
    if not os.path.isfile(os.path.join(venv, "pyvenv.cfg")):
        raise SystemExit(f"{venv or 'VIRTUAL_ENV'} is not a virtual environment")
    # What pip starts for a build, and the scripts that it writes, use the environment's.
    sys.executable = os.path.join(venv, "bin", "python")
    # Before anything imports sysconfig or site: both remember the prefix they first saw.
    sys.prefix = sys.exec_prefix = venv
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(os.path.join(venv, "lib", version, "site-packages"))


class InstallerFinder(PathFinder):
    """Finds the standard library and pip; of the environment only the metadata, never a module.

    pip's libraries try optional imports (`brotli`, `wheel`, `keyring`); a package that takes such a name
    would otherwise run in pip's process.
    """

    importable: Sequence[str] = ()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Search the standard library and pip for a top-level name."""
        return super().find_spec(fullname, cls.importable if path is None else path, target)


def hide_modules(standard_library: list[str]) -> None:
    """Let imports see `standard_library` (directories) and the image's pip, nothing else."""
    InstallerFinder.importable = [*standard_library, ONLY_PIP]
    sys.meta_path[sys.meta_path.index(PathFinder)] = InstallerFinder


def keep_children_clean() -> None:
    """Start pip's own children (they install build requirements) by this launcher too."""
    from pip._internal import build_env

    run = build_env.call_subprocess
    launcher = os.path.abspath(__file__)

    def call_subprocess(command: list[str], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as it is
        if command[1] == launcher:
            command = [INTERPRETER, "-I", "-S", *command[1:]]
        return run(command, *arguments, **options)

    build_env.get_runnable_pip = lambda: launcher
    build_env.call_subprocess = call_subprocess


def main() -> int:
    """Run pip and return its exit code."""
    # Build hooks run as the same user: they get no hand on this process.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    standard_library = list(sys.path)
    enter_environment()
    hide_modules(standard_library)
    keep_children_clean()
    from pip._internal.cli.main import main as pip

    sys.argv[0] = "pip"
    return pip(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
