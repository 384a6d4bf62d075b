"""Every rule fires on an inert emulation that really ran in a pod, and not on what merely looks like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.packages import build
from tests.packages.observe import Observed, rules_for

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pod, pytest.mark.early]

ROWS = [(family, row) for family in build.families() for row in build.emulations(family)]
NAMES = [row.name for _, row in ROWS]
GRAVE = ("medium", "high", "critical")


@pytest.mark.parametrize(("family", "emulation"), ROWS, ids=NAMES)
def test_an_emulation_fires_its_rule(
    observe: Callable[[str, build.Side], Observed], family: str, emulation: build.Emulation
) -> None:
    observed = observe(family, "attack")
    found = observed.findings(emulation, rules_for(emulation))
    phases = {finding.phase for finding in found if finding.name == emulation.rule and finding.actor == "target"}
    assert phases & {build.PHASES[emulation.at], "linger"}, [finding.name for finding in found]
    if emulation.extend is None:
        assert emulation.rule in {finding["name"] for finding in observed.report["findings"]}


@pytest.mark.parametrize(("family", "emulation"), ROWS, ids=NAMES)
def test_its_benign_twin_does_not(
    observe: Callable[[str, build.Side], Observed], family: str, emulation: build.Emulation
) -> None:
    observed = observe(family, "twin")
    assert observed.events_of(emulation), "the twin did not run"
    found = observed.findings(emulation, rules_for(emulation))
    assert emulation.rule not in {finding.name for finding in found}
    assert {finding.name for finding in found if finding.level in GRAVE} == set()


@pytest.mark.parametrize("family", build.families())
def test_the_twins_of_a_family_are_clean(observe: Callable[[str, build.Side], Observed], family: str) -> None:
    report = observe(family, "twin").report
    assert report["verdict"] == "clean", report["reasons"]


def test_a_start_hook_that_pip_installs_is_told(observe: Callable[[str, build.Side], Observed]) -> None:
    family = "collection"
    assert any(row.at == "start" for row in build.emulations(family))
    assert all(row.at != "start" for row in build.emulations("persistence"))
    assert "start-hook-installed" in {finding["name"] for finding in observe(family, "attack").report["findings"]}
    without = observe("persistence", "twin").report["findings"]
    assert "start-hook-installed" not in {finding["name"] for finding in without}
