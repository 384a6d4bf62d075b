from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.images.pods import SmallPod

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.images import BaseImage

_PIDFD_SEND_SIGNAL, _PIDFD_OPEN = 424, 434
"""x86-64's numbers."""


@pytest.fixture
def small_pod(base_image: BaseImage, tmp_path: Path) -> SmallPod:
    return SmallPod(base_image.rootfs, tmp_path)


@pytest.fixture(params=[(), (_PIDFD_SEND_SIGNAL, _PIDFD_OPEN)], ids=["pidfd", "no-pidfd"])
def importer_pod(base_image: BaseImage, tmp_path: Path, request: pytest.FixtureRequest) -> SmallPod:
    """A kernel with pidfds, and one without, as gVisor of 2022 is."""
    return SmallPod(base_image.rootfs, tmp_path, request.param)
