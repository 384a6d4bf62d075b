"""Baselines: what empty packages do in an image, put into every bundle of that image and kind of pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def find(cache: Path, image: str, pod: str) -> bytes | None:
    """Give the baseline for an image and a kind of pod, None when none was recorded."""
    file = path(cache, image, pod)
    return file.read_bytes() if file.is_file() else None


def path(cache: Path, image: str, pod: str) -> Path:
    """Where the baseline for an image (by digest) and a kind of pod is kept."""
    return cache / "baselines" / f"{image}-{pod}.json"
