"""Every inert sample is found out for what it does, in its phase; every benign twin is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.samples import build

if TYPE_CHECKING:
    from tests.run.conftest import Embedded

EXPECTATIONS: dict[str, dict[str, Any]] = yaml.safe_load((build.SAMPLES / "expectations.yaml").read_text())
ATTACKS = sorted(name for name in EXPECTATIONS if not name.endswith("-twin"))
TWINS = sorted(name for name in EXPECTATIONS if name.endswith("-twin"))

pytestmark = [pytest.mark.pod, pytest.mark.registry]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_sample_is_malicious_for_the_right_reason(embedded: Embedded, name: str) -> None:
    expected = EXPECTATIONS[name]
    fumehood, ran = embedded(name)
    assert ran.code == 1, ran.err
    report = ran.report
    assert report["verdict"] == expected["verdict"] == "malicious"
    found = [finding for finding in report["findings"] if finding["actor"] == "target"]
    assert set(expected["rules"]) <= {f["name"] for f in found if f["phase"] == expected["phase"]}
    assert set(expected["techniques"]) <= {technique for finding in found for technique in finding["attack"]}
    for finding in found:
        for evidence in finding["evidence"]:
            assert evidence["source"]["line"] > 0
            assert (fumehood.bundle() / evidence["source"]["file"]).is_file()


@pytest.mark.parametrize("name", TWINS)
def test_a_benign_twin_is_not_malicious(embedded: Embedded, name: str) -> None:
    expected = EXPECTATIONS[name]
    _, ran = embedded(name)
    assert ran.report["verdict"] == expected["verdict"], ran.report["reasons"]
    assert expected["verdict"] != "malicious"


def test_there_are_at_least_eight_pairs() -> None:
    assert len(ATTACKS) >= 8
    assert [f"{name}-twin" for name in ATTACKS] == TWINS
