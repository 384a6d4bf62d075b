"""Who may be told: URLs of the configuration and what lies below them.

Anything else would let a submitter make the server ask whatever it can reach, so without a configured receiver there
are no webhooks at all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from sandbox.errors import ConfigurationError, WebhookError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.config import WebhookReceiver

_MAX_URL: Final = 2048
_PLAIN: Final = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII but for the backslash, which some parsers take for a slash."""
_MAX_SECRET: Final = 4096
_MIN_SECRET: Final = 16
_PORTS: Final = {"http": 80, "https": 443}


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """A configured receiver."""

    origin: tuple[str, str, int]
    """Scheme, host and port."""
    path: str
    secret: bytes

    def takes(self, url: str) -> bool:
        """Whether a URL is this receiver's, or below it."""
        try:
            asked = _split(url)
        except ValueError:
            return False
        below = self.path if self.path.endswith("/") else f"{self.path}/"
        return _origin(asked) == self.origin and (_path(asked) == self.path or _path(asked).startswith(below))


def load_receivers(configured: Iterable[WebhookReceiver]) -> tuple[Receiver, ...]:
    """Read receivers and their secrets.

    Raises:
        ConfigurationError: A URL cannot be one, or a secret cannot be read or is too short.
    """
    made = []
    for plan in configured:
        try:
            parts = _split(plan.url)
        except ValueError as error:
            raise ConfigurationError(f"webhooks: {plan.url[:200]!a}: {error}; write https://HOST/PATH") from error
        if parts.query:
            raise ConfigurationError(f"webhooks: {plan.url[:200]!a} has a query; leave it out")
        made.append(Receiver(origin=_origin(parts), path=_path(parts), secret=_secret(Path(plan.secret_file))))
    return tuple(made)


def receiver_of(receivers: Iterable[Receiver], url: str) -> Receiver:
    """The receiver that a URL belongs to; of several the one with the longest path.

    Raises:
        WebhookError: The configuration allows no such URL.
    """
    found = max((it for it in receivers if it.takes(url)), key=lambda it: len(it.path), default=None)
    if found is None:
        raise WebhookError(
            "this URL is not below one of the configuration's `webhooks`; an administrator adds it there"
        )
    return found


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """The header `Fumehood-Signature`: HMAC-SHA256 over `TIMESTAMP.BODY`, in hex.

    Args:
        secret: Shared with the receiver.
        timestamp: When it is sent, in seconds since the epoch; receivers refuse what is too old.
        body: The bytes that are sent.
    """
    digest = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def _split(url: str) -> SplitResult:
    if len(url) > _MAX_URL or not _PLAIN.fullmatch(url):
        raise ValueError("it is too long, or holds something else than printable ASCII")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("it is not http or https with a host")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise ValueError("it holds a user name or a fragment")
    if parts.port == 0:
        raise ValueError("it names no port")
    # What leads out of a path for some server or other, in whatever writing.
    names = (part.partition(";")[0] for part in parts.path.split("/"))
    if any(name in {".", ".."} for name in names) or "%" in parts.path or "//" in parts.path:
        raise ValueError("its path holds dots, empty parts or percent signs")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]


def _path(parts: SplitResult) -> str:
    return parts.path or "/"


def _secret(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            secret = stream.read(_MAX_SECRET + 1).strip()
    except OSError as error:
        raise ConfigurationError(f"webhooks: {path}: cannot be read: {error.strerror}; check `secret_file`") from error
    if not _MIN_SECRET <= len(secret) <= _MAX_SECRET:
        raise ConfigurationError(
            f"webhooks: {path}: a secret has {_MIN_SECRET} to {_MAX_SECRET} bytes; make one with `openssl rand -hex 32`"
        )
    return secret
