"""The Vagrantfile as Vagrant itself reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = Path(__file__).with_name("settings.rb")

InProject: TypeAlias = "Callable[..., str]"
"""Runs a command beside the copy of the Vagrantfile; returns what it printed."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, as Vagrant makes a directory beside the Vagrantfile."""
    if shutil.which("vagrant") is None:
        pytest.skip("Vagrant is not installed: apt-get install vagrant")
    project = tmp_path_factory.mktemp("vagrant") / "project"
    project.mkdir()
    shutil.copy(ROOT / "Vagrantfile", project)
    return project


@pytest.fixture(scope="module")
def in_project(project: Path) -> InProject:
    """A way to run commands there."""

    def run(*command: str | Path) -> str:
        environment = {**os.environ, "VAGRANT_HOME": str(project.parent / "home"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=project, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def settings(project: Path, in_project: InProject) -> dict[str, Any]:
    """What Vagrant makes of it."""
    found: dict[str, Any] = json.loads(in_project("ruby", _SETTINGS, project))
    return found
