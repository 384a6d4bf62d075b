"""Only what the configuration names can be told anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.config import WebhookReceiver
from sandbox.errors import ConfigurationError, WebhookError
from sandbox.webhooks.receivers import load_receivers, receiver_of

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.webhooks.receivers import Receiver


@pytest.fixture
def receivers(tmp_path: Path) -> tuple[Receiver, ...]:
    secret = tmp_path / "secret"
    secret.write_text("x" * 32)
    urls = ("https://soar.example/hooks", "https://soar.example/hooks/special/", "http://[2001:db8::1]:8080/")
    return load_receivers(WebhookReceiver(url=url, secret_file=str(secret)) for url in urls)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://soar.example/hooks", "/hooks"),
        ("https://SOAR.example:443/hooks/a/b?c=d", "/hooks"),
        ("https://soar.example/hooks/special/x", "/hooks/special/"),
        ("http://[2001:db8::1]:8080/anything", "/"),
    ],
)
def test_a_url_and_what_is_below_it_is_allowed(receivers: tuple[Receiver, ...], url: str, path: str) -> None:
    assert receiver_of(receivers, url).path == path


@pytest.mark.parametrize(
    "url",
    [
        "https://soar.example/",
        "https://soar.example/hooksters",
        "https://soar.example/hooks/../admin",
        "https://soar.example/hooks/%2e%2e/admin",
        "https://soar.example/hooks/..;/admin",
        "https://soar.example/hooks/..;x=1/admin",
        "https://soar.example/hooks//x",
        "https://soar.example/hooks\\..\\admin",
        "http://soar.example/hooks",
        "https://soar.example:8443/hooks",
        "https://soar.example.invalid/hooks",
        "https://soar.example@192.0.2.1/hooks",
        "https://192.0.2.1#@soar.example/hooks",
        "https://soar.example\n.invalid/hooks",
        "https://soar.example\t/hooks",
        "https://soar.example:99999/hooks",
        "https://[::1/hooks",
        "ftp://soar.example/hooks",
        "file:///hooks",
        "//soar.example/hooks",
        "",
        "https://soar.example/hooks/" + "a" * 3000,
    ],
)
def test_every_other_url_is_refused(receivers: tuple[Receiver, ...], url: str) -> None:
    with pytest.raises(WebhookError, match="below one of the configuration's"):
        receiver_of(receivers, url)


def test_without_receivers_there_are_no_webhooks() -> None:
    with pytest.raises(WebhookError):
        receiver_of((), "https://soar.example/hooks")


@pytest.mark.parametrize(
    ("url", "secret", "says"),
    [
        ("soar.example/hooks", "x" * 32, "not http or https"),
        ("https://soar.example/hooks?x=y", "x" * 32, "has a query"),
        ("https://me:pw@soar.example/hooks", "x" * 32, "user name"),
        ("https://soar.example/hooks", "short", "openssl rand"),
        ("https://soar.example/hooks", None, "check `secret_file`"),
    ],
)
def test_a_wrong_receiver_is_told_at_the_start(tmp_path: Path, url: str, secret: str | None, says: str) -> None:
    path = tmp_path / "secret"
    if secret is not None:
        path.write_text(secret)
    with pytest.raises(ConfigurationError, match=says):
        load_receivers([WebhookReceiver(url=url, secret_file=str(path))])
