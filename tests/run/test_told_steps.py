"""What a run tells while it goes on is for whoever submitted, who may be far away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.errors import IntakeError
from sandbox.profile import load_profile
from sandbox.run import Job, run
from sandbox.terminal import QuietProgress

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.settings import Settings


class _Told(QuietProgress):
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


@pytest.mark.usefixtures("base_image")
def test_a_file_is_told_by_its_name_not_by_its_place(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    path.write_bytes(b"no archive")
    told = _Told()
    with pytest.raises(IntakeError, match="thing"):
        run(Job(package=str(path), artefact="auto", profile=load_profile("pypi")), settings, told, lambda: None)
    assert told.steps == ["checking thing-1.0-py3-none-any.whl"]
