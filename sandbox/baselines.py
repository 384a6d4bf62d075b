"""Baselines: what empty packages do in an image, put into every bundle of that image and kind of pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from collector.manifest import Isolation


def find(cache: Path, image: str, isolation: Isolation) -> bytes | None:
    """Give the baseline for an image and a kind of pod, None when none was recorded."""
    file = path(cache, image, isolation)
    return file.read_bytes() if file.is_file() else None


def path(cache: Path, image: str, isolation: Isolation) -> Path:
    """Where the baseline for an image (by digest) and a kind of pod is kept.

    Another runtime has a kernel or an init of its own, under which the same package does other things.
    """
    kind = "-".join(filter(None, (isolation.pod, isolation.runtime)))
    return cache / "baselines" / f"{image}-{kind.replace('/', '_')}.json"
