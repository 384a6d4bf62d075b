"""The wheel alone is enough: rules, profiles, recipes and drivers come with it, whatever has become of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.images.pods import make_wheel
from tests.sandbox.pod import engines

if TYPE_CHECKING:
    from sandbox.images import BaseImage

pytestmark = pytest.mark.pod

_ROOT = Path(__file__).resolve().parents[2]


class _Installed:
    """fumehood in a virtual environment of its own, away from the checkout."""

    def __init__(self, directory: Path) -> None:
        self.venv = directory / "venv"
        self.bundles = directory / "bundles"
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
        subprocess.run(build, check=True, capture_output=True, cwd=_ROOT)
        (self.wheel,) = directory.glob("fumehood-*.whl")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], check=True, cwd="/")
        pip = [sys.executable, "-m", "pip", "--python", str(self.venv / "bin/python"), "--disable-pip-version-check"]
        install = [*pip, "install", "--quiet", "--no-index", "--no-deps", str(self.wheel)]
        subprocess.run(install, check=True, cwd="/")
        self.packages = self.venv / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        for name in _dependencies("fumehood") - {"fumehood"}:
            _copy(metadata.distribution(name), self.packages)

    def __call__(self, program: str, *arguments: str | Path) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        ran = subprocess.run(
            [self.venv / "bin" / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env={**kept, "FUMEHOOD_BUNDLES": str(self.bundles)},
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout


def _dependencies(name: str, found: frozenset[str] = frozenset()) -> frozenset[str]:
    """What the distribution declares to need, and all that these need, with itself; no extras."""
    found |= {name}
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if needed and canonicalize_name(requirement.name) not in found:
            found = _dependencies(canonicalize_name(requirement.name), found)
    return found


def _copy(distribution: metadata.Distribution, packages: Path) -> None:
    """What pip would install, taken from where it is installed already: there may be no index to ask."""
    for file in distribution.files or ():
        if not {"..", "__pycache__"} & set(file.parts):
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(distribution.locate_file(file), target)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> _Installed:
    return _Installed(tmp_path_factory.mktemp("installed"))


def _files(directory: Path) -> set[str]:
    """Files that are ours, and not tools' caches."""
    listed = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {str(path) for path in listed if not {"__pycache__", ".ruff_cache"} & set(path.parts)}


def test_the_wheel_holds_all_that_ships_and_nothing_else(installed: _Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    expected = {
        *(f"{package}/{name}" for package in ("sandbox", "collector") for name in _files(_ROOT / package)),
        *(f"sandbox/_data/{folder}/{name}" for folder in ("profiles", "images") for name in _files(_ROOT / folder)),
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_nothing_comes_from_the_checkout(installed: _Installed) -> None:
    code = (
        "import collector, sandbox, sandbox.resources as shipped, sys, json;"
        "places = [shipped.profiles_directory(), shipped.rules_directory(), shipped.images_directory()];"
        "print(json.dumps([sys.path, [sandbox.__file__, collector.__file__, *map(str, places)]]))"
    )
    path, places = json.loads(installed("python", "-c", code))
    assert str(_ROOT) not in path
    assert all(Path(place).is_relative_to(installed.packages) for place in places), places


def test_version_and_rules(installed: _Installed) -> None:
    assert installed("fumehood", "--version") == f"fumehood {installed.wheel.name.split('-')[1]}\n"
    listed = installed("fumehood", "rules", "list").splitlines()
    assert len(listed) == len(
        [name for name in _files(_ROOT / "profiles/rules") if name.endswith(".yml") and not name.startswith("lists/")]
    )


def test_a_run_with_the_same_image(installed: _Installed, tmp_path: Path, base_image: BaseImage) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": "def f(): print('hello')\n"}, {"thing": "thing:f"})
    report = json.loads(installed("fumehood", "run", "--quiet", "--format", "json", wheel))
    assert report["verdict"] == "clean"
    assert {phase["status"] for phase in report["phases"]} == {"completed"}
    manifest = json.loads(next(installed.bundles.glob("*/manifest.json")).read_bytes())
    assert manifest["image"]["digest"] == base_image.image.digest, "the recipe came whole into the wheel"


@pytest.mark.docker
def test_a_run_in_docker(installed: _Installed, tmp_path: Path, base_image: BaseImage) -> None:  # noqa: ARG001 - built before
    engines.need("docker-runc")
    wheel = make_wheel(tmp_path, "other", {"other.py": ""})
    options = ("--pod", "docker", "--runtime", "runc")
    report = json.loads(installed("fumehood", "run", "--quiet", "--format", "json", *options, wheel))
    assert (report["verdict"], report["manifest"]["isolation"]["runtime"]) == ("clean", "runc")
