"""The package index that pip is configured with on this machine, as pip itself reads it.

No registry host is written here: the default comes from the pip in our own environment.
"""

from __future__ import annotations

import logging
import netrc
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import structlog

from sandbox.errors import UnavailableError
from sandbox.intake.quoting import quoted
from sandbox.registry.fetch import FetchSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SECTIONS = ("global", "install", ":env:")
"""Where `pip install` looks for an option; the last one that has it wins."""
_TRUE = {"y", "yes", "t", "true", "on", "1"}
_TLS_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What pip's HTTP library obeys when the option `cert` is not set."""


class PipConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What decides where packages come from."""

    index_url: str
    """Base address of the first index that is asked (may hold credentials: never show it); empty when there is
    none that can be asked over HTTP."""
    extra_index_urls: tuple[str, ...] = ()
    certificate: str = ""
    """PEM bundle to trust instead of the system's; empty for the system's."""
    client_certificate: str = ""
    credentials: dict[str, tuple[str, str]] = {}
    """User and password by host name, from the user's netrc, for the indexes above."""
    no_index: bool = False
    ignored: tuple[str, ...] = ()
    """Settings that pip would obey and we do not, in words."""

    def __repr__(self) -> str:
        # Index addresses may hold credentials, and a value that is printed ends up in a log.
        return f"{type(self).__name__}({', '.join(_host(url) for url in self.index_urls())})"

    def index_urls(self) -> tuple[str, ...]:
        """Every index, the first to be asked first."""
        return tuple(url for url in (self.index_url, *self.extra_index_urls) if url)

    def fetch_settings(self) -> FetchSettings:
        """The same for the fetcher.

        Raises:
            IntakeError: pip is configured to ask no index.
        """
        if self.no_index:
            raise UnavailableError("pip is configured with no-index on this machine; give a local file, or unset it")
        urls = self.index_urls()
        if not urls:
            raise UnavailableError("pip is configured with no index that can be asked over HTTP; set PIP_INDEX_URL")
        return FetchSettings(
            index_urls=urls,
            credentials=self.credentials,
            ca_file=self.certificate,
            client_cert=self.client_certificate,
        )


def read_pip_configuration(environment: Mapping[str, str] | None = None) -> PipConfiguration:
    """Read pip's configuration files and variables.

    Args:
        environment: Variables that are not pip's own (`NETRC`, `HOME`, CA bundles); the process's by default.
            `PIP_…` variables are always the process's, because pip reads them itself.

    Raises:
        IntakeError: A configuration file of pip cannot be read.
    """
    environment = os.environ if environment is None else environment
    options, default = _ask_pip()
    index_url, extra, ignored = _indexes(options, default)
    if options.get("find-links"):
        ignored.append("find-links")
    ignored += [f"trusted-host {quoted(host)}" for host in options.get("trusted-host", "").split()]
    if options.get("proxy"):
        ignored.append("proxy (set HTTPS_PROXY instead)")
    if ignored:
        structlog.get_logger(__name__).info("pip settings that are not consulted", settings=ignored)
    certificate = options.get("cert") or next(
        (environment[name] for name in _TLS_VARIABLES if environment.get(name)), ""
    )
    return PipConfiguration(
        index_url=index_url,
        extra_index_urls=extra,
        certificate=certificate,
        client_certificate=options.get("client-cert", ""),
        credentials=_netrc_credentials([index_url, *extra], environment),
        no_index=options.get("no-index", "").strip().lower() in _TRUE,
        ignored=tuple(ignored),
    )


def _ask_pip() -> tuple[dict[str, str], str]:
    """Pip's effective options for `install`, and the index that it asks by default."""
    # pip replaces the process's logger class as soon as it is imported: so it is imported only here, and the
    # class is put back. Its own modules must all be loaded in between, as they need theirs.
    logger_class = logging.getLoggerClass()
    try:
        from pip._internal.configuration import Configuration  # noqa: PLC0415 - see above
        from pip._internal.exceptions import ConfigurationError  # noqa: PLC0415
        from pip._internal.models.index import PyPI  # noqa: PLC0415
    finally:
        logging.setLoggerClass(logger_class)
    configuration = Configuration(isolated=False)
    try:
        configuration.load()
    except ConfigurationError as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"pip's configuration cannot be read: {reason}; see `pip config debug`") from error
    options: dict[str, str] = {}
    for section in _SECTIONS:
        for key, value in _flat(configuration.items()):
            if key.startswith(f"{section}.") and value:
                options[key.removeprefix(f"{section}.")] = str(value)
    return options, PyPI.simple_url


def _flat(items: Iterable[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """Keys and values of a loaded configuration, later ones overriding earlier ones.

    pip gives them plainly before version 26, and by the file that they stand in since then.

    Raises:
        IntakeError: They come in a form that no known pip gives: an index must never be overlooked.
    """
    for name, value in items:
        pairs = value.items() if isinstance(value, dict) else ((name, value),)
        for key, text in pairs:
            if "." not in key:
                raise UnavailableError(
                    f"pip's configuration has the unknown entry {quoted(key)}; this pip is too new for us"
                )
            yield key, text


def _indexes(options: Mapping[str, str], default: str) -> tuple[str, tuple[str, ...], list[str]]:
    """The index, the further ones, and those that cannot be asked (in words)."""
    ignored: list[str] = []

    def usable(url: str) -> bool:
        if url.startswith(("http://", "https://")) and _host(url):
            return True
        ignored.append(f"index {quoted(url.rpartition('@')[2])} (not http or https)")  # without its credentials
        return False

    index_url = (options.get("index-url") or options.get("pypi-url") or default).strip()
    extra = tuple(url.rstrip("/") for url in options.get("extra-index-url", "").split() if usable(url))
    return (index_url.rstrip("/") if usable(index_url) else ""), extra, ignored


def _host(url: str) -> str:
    """The host of an address; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _netrc_credentials(urls: Iterable[str], environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What the user's netrc says about the hosts of the indexes, as pip would use it."""
    home = Path(environment.get("HOME", "/"))
    candidates = [Path(environment["NETRC"])] if environment.get("NETRC") else [home / ".netrc", home / "_netrc"]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return {}
    try:
        entries = netrc.netrc(str(path))
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        structlog.get_logger(__name__).warning("netrc cannot be read", path=str(path), error=str(error))
        return {}
    found: dict[str, tuple[str, str]] = {}
    for url in urls:
        host = _host(url)
        entry = entries.authenticators(host) if host else None
        if entry:
            found[host] = (entry[0], entry[2] or "")
    return found
