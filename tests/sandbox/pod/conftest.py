"""The fixture that starts real pods."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox.pod.bubblewrap import BubblewrapPod
from tests.sandbox.pod.bench import Bench, StartPod, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.images import BaseImage


@pytest.fixture
def start_pod(base_image: BaseImage, tmp_path: Path) -> StartPod:
    """Start a pod with evidence in `tmp_path/evidence`; limits of the profile may be changed by name."""

    @contextmanager
    def start(**limits: int) -> Iterator[Bench]:
        directory = tmp_path / "evidence"
        directory.mkdir()
        with BubblewrapPod(make_plan(base_image, tmp_path, **limits), directory) as pod:
            yield Bench(pod, directory)

    return start
