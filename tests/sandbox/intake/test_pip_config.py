"""Which index pip is configured with, as pip's own code reads it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from sandbox.errors import IntakeError
from sandbox.intake import read_pip_configuration

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "https://index.example/simple"


def test_a_pip_that_nobody_configured_has_its_own_default(unconfigured: Path) -> None:
    configuration = read_pip_configuration({"HOME": str(unconfigured)})
    assert urlsplit(configuration.index_url).scheme == "https"
    assert configuration.extra_index_urls == ()
    assert configuration.certificate == ""
    assert configuration.ignored == ()
    assert not configuration.no_index


def test_variables_configure_it(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{INDEX}/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://one.example/simple file:///srv/wheels\nhttp://two.example")
    monkeypatch.setenv("PIP_CERT", "/ca.pem")
    monkeypatch.setenv("PIP_CLIENT_CERT", "/client.pem")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "two.example")
    monkeypatch.setenv("PIP_FIND_LINKS", "/srv/wheels")
    configuration = read_pip_configuration({"HOME": str(unconfigured)})
    assert configuration.index_urls() == (INDEX, "https://one.example/simple", "http://two.example")
    assert configuration.ignored == (
        "index 'file:///srv/wheels' (not http or https)",
        "find-links",
        "trusted-host 'two.example'",
    )
    settings = configuration.fetch_settings()
    assert settings.index_urls == configuration.index_urls()
    assert (settings.ca_file, settings.client_cert) == ("/ca.pem", "/client.pem")


def test_files_configure_it_and_variables_win(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = unconfigured / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://global.example/simple\ncert = /global.pem\n"
        "[install]\nindex-url = https://install.example/simple\nextra-index-url =\n  https://a.example\n  https://b.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    configuration = read_pip_configuration({"HOME": str(unconfigured)})
    assert configuration.index_urls() == ("https://install.example/simple", "https://a.example", "https://b.example")
    assert configuration.certificate == "/global.pem"
    monkeypatch.setenv("PIP_INDEX_URL", INDEX)
    assert read_pip_configuration({"HOME": str(unconfigured)}).index_url == INDEX


def test_a_file_that_pip_cannot_read_is_an_error(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = unconfigured / "pip.conf"
    file.write_text("index-url = x\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    with pytest.raises(IntakeError, match=r"pip's configuration cannot be read: .*see `pip config debug`"):
        read_pip_configuration()


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_no_index_is_a_switch(unconfigured: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", value)
    configuration = read_pip_configuration({"HOME": str(unconfigured)})
    assert configuration.no_index is expected
    if expected:
        with pytest.raises(IntakeError, match="no-index"):
            configuration.fetch_settings()


def test_an_index_of_files_alone_cannot_be_asked(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "file:///srv/simple")
    configuration = read_pip_configuration({"HOME": str(unconfigured)})
    assert configuration.index_urls() == ()
    with pytest.raises(IntakeError, match="set PIP_INDEX_URL"):
        configuration.fetch_settings()


def test_an_address_that_is_none_is_ignored_and_no_credentials_are_shown(
    unconfigured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hunter2@index.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://[broken ssh://me:hunter2@files.example/x")
    configuration = read_pip_configuration({"HOME": str(unconfigured)})
    assert configuration.index_urls() == ("https://me:hunter2@index.example/simple",)
    assert configuration.ignored == (
        "index 'http://[broken' (not http or https)",
        "index 'files.example/x' (not http or https)",
    )
    assert repr(configuration) == "PipConfiguration(index.example)"


def test_the_ca_bundle_of_pips_http_library_counts(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"HOME": str(unconfigured), "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "/curl.pem"}
    assert read_pip_configuration(environment).certificate == "/curl.pem"
    monkeypatch.setenv("PIP_CERT", "/pip.pem")
    assert read_pip_configuration(environment).certificate == "/pip.pem"


def test_credentials_come_from_netrc_for_the_indexes_only(unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", INDEX)
    file = unconfigured / ".netrc"
    file.write_text("machine index.example login me password secret\nmachine git.example login x password y\n")
    file.chmod(0o600)
    assert read_pip_configuration({"HOME": str(unconfigured)}).credentials == {"index.example": ("me", "secret")}
    elsewhere = unconfigured / "elsewhere"
    elsewhere.write_text("machine index.example login other password more\n")
    environment = {"HOME": str(unconfigured), "NETRC": str(elsewhere)}
    assert read_pip_configuration(environment).fetch_settings().credentials == {"index.example": ("other", "more")}
    elsewhere.write_text("nonsense {")
    assert read_pip_configuration(environment).credentials == {}


def test_asking_pip_leaves_logging_as_it_was(unconfigured: Path) -> None:
    before = logging.getLoggerClass()
    read_pip_configuration({"HOME": str(unconfigured)})
    assert logging.getLoggerClass() is before
