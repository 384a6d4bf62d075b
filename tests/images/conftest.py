from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.images.pods import SmallPod

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.images import BaseImage


@pytest.fixture
def small_pod(base_image: BaseImage, tmp_path: Path) -> SmallPod:
    return SmallPod(base_image.rootfs, tmp_path)
