"""The same package has the same verdict and the same findings in every pod."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox.resources import profiles_directory
from tests.run.conftest import Fumehood
from tests.run.test_real_packages import PACKAGES
from tests.run.test_samples import EXPECTATIONS
from tests.samples import build
from tests.sandbox.pod import engines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.run.conftest import Embedded

pytestmark = [pytest.mark.docker, pytest.mark.pod, pytest.mark.registry, pytest.mark.timeout(1800), pytest.mark.early]


@pytest.fixture
def run_everywhere(embedded: Embedded, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a package in all pods, in those of Docker at once; gives the report that all have in common."""
    for pod in engines.POD_NAMES:
        engines.need(pod)
    profile = tmp_path / "patient.yaml"
    profile.write_text(_patient())

    def run(pod: str, package: str, *options: str) -> dict[str, Any]:
        kind, _, runtime = pod.partition("-")
        if kind == "docker":
            ours = Fumehood(tmp_path / pod / "bundles")
            ours.bundles.parent.mkdir()
            what = package if package.startswith("pkg:") else build.build(package, ours.bundles.parent)
            ran = ours.run(what, *options, "--profile", profile, "--pod", kind, "--runtime", runtime)
        else:
            ours, ran = embedded(package, *options)
        assert ran.out, (pod, ran.err)
        isolation = json.loads((ours.bundle() / "manifest.json").read_bytes())["isolation"]
        assert (isolation["pod"], isolation.get("runtime", "")) == (kind, runtime), "it ran where we think"
        return ran.report

    def everywhere(package: str, *options: str) -> dict[str, Any]:
        with ThreadPoolExecutor(len(engines.POD_NAMES)) as pool:
            told = pool.map(lambda pod: run(pod, package, *options), engines.POD_NAMES)
            reports = dict(zip(engines.POD_NAMES, told, strict=True))
        expected = reports["bubblewrap"]
        for pod, report in reports.items():
            cut = [phase for phase in report["phases"] if not phase["trace"]["complete"]]
            assert [(phase["name"], phase["status"], phase["reason"]) for phase in cut] == [], pod
            assert [phase["name"] for phase in report["phases"] if phase["trace"]["unparsed"]] == [], pod
            assert report["verdict"] == expected["verdict"], (pod, report["reasons"])
            assert _found(report) == _found(expected), pod
            assert _reached(report) == _reached(expected), pod
        return expected

    return everywhere


def _patient() -> str:
    """The shipped profile, but no module and no script is given up because pods share a busy machine."""
    profile = yaml.safe_load((profiles_directory() / "pypi.yaml").read_text())
    for name in ("import", "exercise"):
        profile["phases"][name] |= {"seconds": 1200, "each": 240}
    profile["phases"]["startup"]["seconds"] = 240
    return str(yaml.safe_dump(profile))


def _found(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted({(finding["name"], finding["phase"], finding["actor"]) for finding in report["findings"]})


def _reached(report: dict[str, Any]) -> dict[str, tuple[str, int, int]]:
    """How each phase ended and how far it came."""
    covered = ((phase, phase["coverage"] or {"planned": 0, "reached": 0}) for phase in report["phases"])
    return {phase["name"]: (phase["status"], seen["planned"], seen["reached"]) for phase, seen in covered}


@pytest.mark.parametrize("name", sorted(EXPECTATIONS))
def test_a_sample_is_told_the_same_in_every_pod(run_everywhere: Callable[..., dict[str, Any]], name: str) -> None:
    expected = EXPECTATIONS[name]
    report = run_everywhere(name)
    assert report["verdict"] == expected["verdict"]
    assert set(expected.get("rules", ())) <= {rule for rule, _, actor in _found(report) if actor == "target"}


@pytest.mark.parametrize(("package", "artefact"), PACKAGES)
def test_a_known_good_package_is_clean_in_every_pod(
    run_everywhere: Callable[..., dict[str, Any]], package: str, artefact: str
) -> None:
    assert run_everywhere(package, "--artefact", artefact)["verdict"] == "clean"
