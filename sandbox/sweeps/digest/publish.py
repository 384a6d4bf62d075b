"""Puts a digest where people and programs find it: into files, one in each form, and to a webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from sandbox.errors import SandboxError
from sandbox.sweeps.digest.gather import to_json
from sandbox.sweeps.digest.markdown import render_markdown
from sandbox.sweeps.digest.page import render_html
from sandbox.webhooks import deliveries

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from sandbox.sweeps.digest.model import Digest


def publish(digest: Digest, directory: Path) -> tuple[Path, ...]:
    """Write `sweeps-<end of the span, UTC>.md`, `.html` and `.json`; each appears whole or not at all.

    Raises:
        SandboxError: The directory cannot be written to.
    """
    stem = datetime.fromtimestamp(digest.until, UTC).strftime("sweeps-%Y%m%dT%H%M%SZ")
    forms = {
        "md": render_markdown(digest).encode(),
        "html": render_html(digest).encode(),
        "json": to_json(digest),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return tuple(_write(directory / f"{stem}.{suffix}", body) for suffix, body in forms.items())
    except OSError as error:
        raise SandboxError(f"the digest cannot be written to {directory}: {error.strerror}; make room there") from error


def tell(engine: Engine, digest: Digest, url: str, now: float) -> str:
    """Have a webhook told the digest: `fumehood serve` delivers it, signed, until it arrives.

    Returns:
        The delivery's id.
    """
    return deliveries.tell(engine, "sweeps.digest", {"digest": msgspec.to_builtins(digest)}, url, now)


def _write(path: Path, body: bytes) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(body)
    return partial.replace(path)
