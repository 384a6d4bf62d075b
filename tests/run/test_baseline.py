"""A baseline recorded in a real pod, and a run that carries it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from collector.manifest import Isolation
from sandbox import baselines, empty_packages
from sandbox.baseline_commands import record
from sandbox.pod.choose import Wanted
from sandbox.profile import load_profile
from sandbox.settings import Settings
from tests.samples.build import build

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.images import BaseImage
    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod


@pytest.fixture(name="cache")
def cache_apart(base_image: BaseImage, tmp_path: Path) -> Path:  # noqa: ARG001 - built before it is linked to
    """A cache beside the usual one: other tests' runs must not carry this baseline, nor these another."""
    usual = Settings.from_environment(os.environ).cache
    cache = tmp_path / "cache"
    cache.mkdir()
    for part in ("images", "tracer", "registry"):
        (usual / part).mkdir(exist_ok=True)
        (cache / part).symlink_to(usual / part)
    return cache


def run_quiet_wheel(fumehood: Fumehood, cache: Path) -> dict[str, Any]:
    package = build("systemd-unit-twin", cache)
    environment = {"FUMEHOOD_CACHE": str(cache)}
    return fumehood("run", "--format", "json", "--quiet", package, environment=environment).report


def test_a_quiet_wheel_is_mostly_as_an_empty_one(fumehood: Fumehood, base_image: BaseImage, cache: Path) -> None:
    settings = msgspec.structs.replace(Settings.from_environment(os.environ), cache=cache)
    told: list[str] = []
    here = Isolation(pod="bubblewrap", kernel="", outer_user="root", uid_ranges=1)
    path = record(load_profile("pypi"), Wanted(), settings, told.append, (empty_packages.WHEEL,))
    assert baselines.find(cache, base_image.image.digest, here) == path.read_bytes()
    other = msgspec.structs.replace(here, pod="docker", runtime="runsc")
    assert baselines.find(cache, base_image.image.digest, other) is None
    assert len(told) == 1
    assert "failed" not in told[0]

    report = run_quiet_wheel(fumehood, cache)
    assert report["verdict"] == "clean"
    usual = report["baseline"]
    assert usual["recorded"] == [{"name": "wheel", "completed": True}]
    assert usual["of"] * 0.9 < usual["events"] < usual["of"] == sum(report["events"].values())

    hidden = fumehood("events", "--baseline", fumehood.bundle()).out.splitlines()
    shown = fumehood("events", "--unusual", fumehood.bundle()).out.splitlines()
    assert (len(hidden), len(hidden) + len(shown)) == (usual["events"], usual["of"])
    # The unit that it writes into its own settings is no part of an empty package.
    assert any(b"file.write" in line and b".service" in line for line in shown)
    assert not any(b".service" in line for line in hidden)


def test_a_bundle_without_a_baseline_says_how_to_get_one(fumehood: Fumehood, cache: Path) -> None:
    assert run_quiet_wheel(fumehood, cache)["baseline"] is None
    ran = fumehood("events", "--unusual", fumehood.bundle())
    assert ran.code == 2
    assert "fumehood image baseline" in ran.err
