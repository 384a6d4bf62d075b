"""The same package has the same verdict and the same findings in every pod."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from collector import timeline
from collector.bundle import Bundle
from collector.events import FileRead
from tests.run.conftest import Fumehood, artefact, patient
from tests.run.test_real_packages import PACKAGES
from tests.run.test_samples import ATTACKS, EXPECTATIONS, TWINS
from tests.samples import build
from tests.sandbox.pod import engines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.run.conftest import Embedded

pytestmark = [pytest.mark.docker, pytest.mark.pod, pytest.mark.registry, pytest.mark.timeout(1800), pytest.mark.early]


class Told(NamedTuple):
    """What a run in one pod told."""

    report: dict[str, Any]
    bundle: Path


class Everywhere:
    """Runs packages in all pods, in those of Docker at once; a process runs each package once."""

    def __init__(self, embedded: Embedded, directory: Path) -> None:
        self._embedded = embedded
        self._directory = directory
        self._made: dict[str, dict[str, Told]] = {}
        self._profile = directory / "patient.yaml"
        self._profile.write_text(patient())

    def __call__(self, package: str, *options: str) -> dict[str, Told]:
        """What each pod told, which is the same."""
        if package not in self._made:
            place = self._directory / str(len(self._made))
            with ThreadPoolExecutor(len(engines.POD_NAMES)) as pool:
                told = pool.map(lambda pod: self._run(pod, place / pod, package, *options), engines.POD_NAMES)
                self._made[package] = dict(zip(engines.POD_NAMES, told, strict=True))
        made = self._made[package]
        expected = made["bubblewrap"].report
        for pod, (report, _) in made.items():
            cut = [phase for phase in report["phases"] if not phase["trace"]["complete"]]
            assert [(phase["name"], phase["status"], phase["reason"]) for phase in cut] == [], pod
            assert [phase["name"] for phase in report["phases"] if phase["trace"]["unparsed"]] == [], pod
            assert report["verdict"] == expected["verdict"], (pod, report["reasons"])
            assert _found(report) == _found(expected), pod
            assert _reached(report) == _reached(expected), pod
        return made

    def _run(self, pod: str, place: Path, package: str, *options: str) -> Told:
        kind, _, runtime = pod.partition("-")
        if kind == "docker":
            place.mkdir(parents=True)
            ours = Fumehood(place / "bundles")
            docker = ("--profile", self._profile, "--pod", kind, "--runtime", runtime)
            ran = ours.run(artefact(package, place), *options, *docker)
        else:
            ours, ran = self._embedded(package, *options)
        assert ran.out, (pod, ran.err)
        isolation = Bundle.open(ours.bundle()).manifest.isolation
        assert (isolation.pod, isolation.runtime) == (kind, runtime), "it ran where we think"
        return Told(ran.report, ours.bundle())


@pytest.fixture(scope="module")
def run_everywhere(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Everywhere:
    for pod in engines.POD_NAMES:
        engines.need(pod)
    return Everywhere(embedded, tmp_path_factory.mktemp("everywhere"))


def _found(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted({(finding["name"], finding["phase"], finding["actor"]) for finding in report["findings"]})


def _reached(report: dict[str, Any]) -> dict[str, tuple[str, int, int]]:
    """How each phase ended and how far it came."""
    covered = ((phase, phase["coverage"] or {"planned": 0, "reached": 0}) for phase in report["phases"])
    return {phase["name"]: (phase["status"], seen["planned"], seen["reached"]) for phase, seen in covered}


@pytest.mark.parametrize("name", ATTACKS + TWINS)
def test_a_sample_is_told_the_same_in_every_pod(run_everywhere: Everywhere, name: str) -> None:
    """The benign twins of one kind are one package, as gVisor takes long: where nothing is found, each is clean."""
    expected = EXPECTATIONS[name]
    for pod, (report, bundle) in run_everywhere(name if name in ATTACKS else "+".join(_like(name))).items():
        assert report["verdict"] == expected["verdict"]
        assert set(expected.get("rules", ())) <= {rule for rule, _, actor in _found(report) if actor == "target"}
        assert name in ATTACKS or _was_run(name, bundle), f"its code was not run in {pod}"


def _like(name: str) -> list[str]:
    return [twin for twin in TWINS if EXPECTATIONS[twin]["kind"] == EXPECTATIONS[name]["kind"]]


def _was_run(name: str, bundle: Path) -> bool:
    """Whether the code that a sample misbehaves in, or its twin does not, was loaded in its phase."""
    if EXPECTATIONS[name]["kind"] == "sdist":
        return any(phase == "install" and path.endswith(build.setup_program(name)) for phase, path in _read(bundle))
    package = f"/{build.distribution(name)}/"
    return any(phase == "import" and package in path and "/__init__." in path for phase, path in _read(bundle))


@cache
def _read(bundle: Path) -> frozenset[tuple[str, str]]:
    """Phase and path of each file that was read."""
    events = timeline.build(Bundle.open(bundle)).events
    return frozenset((event.phase, event.path) for event in events if isinstance(event, FileRead) and not event.errno)


@pytest.mark.parametrize(("package", "artefact"), PACKAGES)
def test_a_known_good_package_is_clean_in_every_pod(run_everywhere: Everywhere, package: str, artefact: str) -> None:
    for told in run_everywhere(package, "--artefact", artefact).values():
        assert told.report["verdict"] == "clean"
