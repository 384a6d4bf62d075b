"""Finds the configuration's file, reads it, and lets the environment have the last word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.located import Document, Sort
from collector.textfile import read_text
from sandbox.config.environment import overlay, variables
from sandbox.config.model import Configuration, ConfigurationFile
from sandbox.errors import ConfigurationError
from sandbox.redis_server.layout import known_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE: Final = Sort("configuration", ConfigurationError, "remove it, or write for example `data: /var/lib/fumehood`")
_SYSTEM: Final = Path("/etc/fumehood/fumehood.yaml")
_MAX_BYTES: Final = 256 * 1024
_FILLED_IN: Final = frozenset({"data", "database", "redis", "evidence"})
"""Keys whose defaults follow from others."""


class Effective(NamedTuple):
    """The configuration that counts, and where it comes from."""

    configuration: Configuration
    file: Path | None
    origins: Mapping[tuple[str, ...], str]
    """By path of keys, for those that are not left to their defaults: `line 4`, or the variable's name."""


def load_configuration(environment: Mapping[str, str], given: Path | None = None) -> Configuration:
    """The configuration that counts.

    Args:
        environment: FUMEHOOD_CONFIG names the file; FUMEHOOD_DATA, FUMEHOOD_API_PORT and the like, one for each simple
            key, are stronger than what it says.
        given: The file that the command line names; stronger than FUMEHOOD_CONFIG.

    Raises:
        ConfigurationError: The file cannot be read, or is wrong; the message names line and remedy.
    """
    return load_effective(environment, given).configuration


def load_effective(environment: Mapping[str, str], given: Path | None = None) -> Effective:
    """As `load_configuration`, with where each value comes from."""
    path = find(environment, given)
    document = Document(read_text(path, str(path), _FILE, _MAX_BYTES), str(path), _FILE) if path else None
    written = document.read(ConfigurationFile) if document else ConfigurationFile()
    file = overlay(written, environment)
    home = Path(environment.get("HOME", "/"))
    data = Path(file.data or Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "fumehood").absolute()
    configuration = Configuration(
        data=data,
        database=file.database or f"sqlite:///{data / 'fumehood.sqlite'}",
        redis=file.redis or known_url(data / "redis"),
        evidence=file.evidence or str(data / "evidence"),
        uploads=data / "uploads",
        **{name: getattr(file, name) for name in file.__struct_fields__ if name not in _FILLED_IN},
    )
    lines = {path: f"line {line}" for path, line in document.lines.items()} if document else {}
    said = {variable.path: variable.name for variable in variables() if environment.get(variable.name)}
    return Effective(configuration=configuration, file=path, origins={**lines, **said})


def find(environment: Mapping[str, str], given: Path | None = None) -> Path | None:
    """The configuration's file: as given, else FUMEHOOD_CONFIG, the user's, the machine's; `None` for none."""
    if given is not None:
        return given
    if environment.get("FUMEHOOD_CONFIG"):
        return Path(environment["FUMEHOOD_CONFIG"])
    user = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
    return next((path for path in (user / "fumehood/fumehood.yaml", _SYSTEM) if path.exists()), None)
