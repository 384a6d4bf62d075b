"""Finds the configuration's file, reads it, and lets the environment have the last word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from collector.located import Document, Sort
from sandbox.config.model import Configuration, ConfigurationFile
from sandbox.errors import ConfigurationError
from sandbox.redis_server.layout import known_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE: Final = Sort("configuration", ConfigurationError, "remove it, or write for example `data: /var/lib/fumehood`")
_SYSTEM: Final = Path("/etc/fumehood/fumehood.yaml")
_MAX_BYTES: Final = 256 * 1024


def load_configuration(environment: Mapping[str, str], given: Path | None = None) -> Configuration:
    """The configuration that counts.

    Args:
        environment: FUMEHOOD_CONFIG names the file; FUMEHOOD_DATA, FUMEHOOD_DATABASE, FUMEHOOD_REDIS and
            FUMEHOOD_EVIDENCE are stronger than what it says.
        given: The file that the command line names; stronger than FUMEHOOD_CONFIG.

    Raises:
        ConfigurationError: The file cannot be read, or is wrong; the message names line and remedy.
    """
    home = Path(environment.get("HOME", "/"))
    path = find(environment, given)
    file = _read(path) if path else ConfigurationFile()
    default = Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "fumehood"
    data = Path(environment.get("FUMEHOOD_DATA") or file.data or default).absolute()
    return Configuration(
        data=data,
        database=environment.get("FUMEHOOD_DATABASE") or file.database or f"sqlite:///{data / 'fumehood.sqlite'}",
        redis=environment.get("FUMEHOOD_REDIS") or file.redis or known_url(data / "redis"),
        evidence=environment.get("FUMEHOOD_EVIDENCE") or file.evidence or str(data / "evidence"),
        uploads=data / "uploads",
        queue=file.queue,
        worker=file.worker,
        api=file.api,
        webhooks=file.webhooks,
    )


def find(environment: Mapping[str, str], given: Path | None = None) -> Path | None:
    """The configuration's file: as given, else FUMEHOOD_CONFIG, the user's, the machine's; `None` for none."""
    if given is not None:
        return given
    if environment.get("FUMEHOOD_CONFIG"):
        return Path(environment["FUMEHOOD_CONFIG"])
    user = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
    return next((path for path in (user / "fumehood/fumehood.yaml", _SYSTEM) if path.exists()), None)


def _read(path: Path) -> ConfigurationFile:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: larger than {_MAX_BYTES // 1024} KiB; this cannot be a configuration")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8; save the file as UTF-8 text") from error
    return Document(text, str(path), _FILE).read(ConfigurationFile)
