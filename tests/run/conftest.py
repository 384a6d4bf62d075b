"""Runs the installed command, as a user would: with bundles of the test's own, or once for several tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from sandbox.resources import profiles_directory
from tests.samples import build

ROOT = Path(__file__).resolve().parents[2]


class Ran(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Fumehood:
    """The command `fumehood`, from the environment that runs the tests."""

    def __init__(self, bundles: Path) -> None:
        self.bundles = bundles

    def __call__(self, *arguments: str | Path, environment: dict[str, str] | None = None) -> Ran:
        command = [Path(sys.executable).with_name("fumehood"), *arguments]
        ours = {**os.environ, "FUMEHOOD_BUNDLES": str(self.bundles), **(environment or {})}
        done = subprocess.run(command, check=False, capture_output=True, env=ours, cwd=self.bundles.parent)
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    def run(self, package: str | Path, *options: str | Path) -> Ran:
        return self("run", "--format", "json", "--quiet", *options, package)

    def bundle(self) -> Path:
        """The only bundle there is."""
        (found,) = (path for path in self.bundles.iterdir() if path.is_dir())
        return found


@pytest.fixture
def fumehood(base_image: object, tmp_path: Path) -> Fumehood:  # noqa: ARG001 - built before it is timed out
    return Fumehood(tmp_path / "bundles")


class Embedded:
    """Runs in the embedded pod that more than one test looks at: a process makes each once.

    The tests of one package are in one process (`tests/side_by_side.py`).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, tuple[Fumehood, Ran]] = {}

    def __call__(self, package: str, *options: str) -> tuple[Fumehood, Ran]:
        """Run what `artefact` knows; gives also the command that knows its bundle."""
        if package not in self._made:
            place = self._directory / str(len(self._made))
            place.mkdir()
            ours = Fumehood(place / "bundles")
            profile = place / "patient.yaml"
            profile.write_text(patient())
            ran = ours.run(artefact(package, place), *options, "--profile", profile, "--pod", "bubblewrap")
            self._made[package] = ours, ran
        return self._made[package]


def patient() -> str:
    """The shipped profile, but no module and no script is given up because pods share a busy machine."""
    profile = yaml.safe_load((profiles_directory() / "pypi.yaml").read_text())
    for name in ("import", "exercise"):
        profile["phases"][name] |= {"seconds": 1200, "each": 240}
    profile["phases"]["startup"]["seconds"] = 240
    return str(yaml.safe_dump(profile))


def artefact(package: str, directory: Path) -> str | Path:
    """What to run: a purl as it is, the sample of that name, or several (`a+b`) as one package."""
    if package.startswith("pkg:"):
        return package
    names = tuple(package.split("+"))
    return build.together(names, "sample_together", directory) if names[1:] else build.build(package, directory)


@pytest.fixture(scope="session")
def embedded(base_image: object, tmp_path_factory: pytest.TempPathFactory) -> Embedded:  # noqa: ARG001 - built before
    return Embedded(tmp_path_factory.mktemp("embedded"))
