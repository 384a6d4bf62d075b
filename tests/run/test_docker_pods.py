"""The same package has the same findings in every pod, and the same verdict with runc.

gVisor of 2022 has no `pidfd_open`, by which the importer follows its processes: it then counts modules as failed that
were imported, and a run that would be clean may be inconclusive. What was found is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.run.test_samples import EXPECTATIONS
from tests.samples import build
from tests.sandbox.pod import engines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.run.conftest import Fumehood

pytestmark = [pytest.mark.docker, pytest.mark.pod, pytest.mark.registry, pytest.mark.timeout(600)]

QUICK = (("pkg:pypi/six", "wheel"), ("pkg:pypi/requests", "wheel"), ("pkg:pypi/flask", "wheel"))
SLOW = (("pkg:pypi/numpy", "wheel"), ("pkg:pypi/pyyaml", "sdist"), ("pkg:pypi/setuptools-scm", "sdist"))


def _told(report: dict[str, Any]) -> tuple[str, list[tuple[str, str, str]]]:
    found = {(finding["phase"], finding["name"], finding["actor"]) for finding in report["findings"]}
    return report["verdict"], sorted(found)


def _same_everywhere(fumehood: Fumehood, runtimes: tuple[str, ...], *arguments: str | Path) -> str:
    for runtime in runtimes:
        engines.need(f"docker-{runtime}")
    embedded = _told(fumehood.run(*arguments, "--pod", "bubblewrap").report)
    for runtime in runtimes:
        ran = fumehood.run(*arguments, "--pod", "docker", "--runtime", runtime)
        assert ran.out, ran.err
        verdict, findings = _told(ran.report)
        assert findings == embedded[1], (runtime, ran.report["reasons"])
        allowed = {embedded[0], "inconclusive"} if runtime == "runsc" and embedded[0] == "clean" else {embedded[0]}
        assert verdict in allowed, (runtime, ran.report["reasons"])
        assert [phase for phase in ran.report["phases"] if not phase["trace"]["complete"]] == []
    return embedded[0]


@pytest.mark.parametrize("name", sorted(EXPECTATIONS))
def test_a_sample_is_told_the_same_in_every_pod(fumehood: Fumehood, tmp_path: Path, name: str) -> None:
    verdict = _same_everywhere(fumehood, engines.RUNTIMES, build.build(name, tmp_path))
    assert verdict == EXPECTATIONS[name]["verdict"]


@pytest.mark.parametrize(("package", "artefact"), QUICK)
def test_a_known_good_package_is_told_the_same_in_every_pod(fumehood: Fumehood, package: str, artefact: str) -> None:
    assert _same_everywhere(fumehood, engines.RUNTIMES, package, "--artefact", artefact) == "clean"


@pytest.mark.parametrize(("package", "artefact"), SLOW)
def test_a_big_package_is_told_the_same_in_every_pod(fumehood: Fumehood, package: str, artefact: str) -> None:
    assert _same_everywhere(fumehood, engines.RUNTIMES, package, "--artefact", artefact) == "clean"
