"""Known-good packages, fetched by name from the configured index, end clean; pip is blamed for nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest

from tests.run.conftest import ROOT

if TYPE_CHECKING:
    from tests.run.conftest import Embedded

pytestmark = [pytest.mark.pod, pytest.mark.registry]


PACKAGES = (
    ("pkg:pypi/six@1.17.0", "wheel"),
    ("pkg:pypi/requests@2.32.3", "wheel"),
    ("pkg:pypi/flask@3.1.3", "wheel"),
    ("pkg:pypi/numpy@2.4.6", "wheel"),
    ("pkg:pypi/pyyaml@6.0.3", "sdist"),
    ("pkg:pypi/setuptools-scm@10.3.4", "sdist"),
)


@pytest.mark.parametrize(("package", "artefact"), PACKAGES)
def test_a_known_good_package_is_clean(embedded: Embedded, package: str, artefact: str) -> None:
    fumehood, ran = embedded(package, "--artefact", artefact)
    assert ran.code == 0, (ran.err, ran.out[:2000])
    report = ran.report
    assert report["verdict"] == "clean"
    assert report["package"]["kind"] == artefact
    assert [finding["name"] for finding in report["findings"] if finding["actor"] == "installer"] == []
    assert [phase["name"] for phase in report["phases"]] == [
        "dependencies",
        "install",
        "startup",
        "import",
        "exercise",
        "linger",
    ]
    for phase in report["phases"]:
        assert phase["status"] == "completed", phase
        assert phase["trace"]["unparsed"] == 0
    imported = next(phase["coverage"] for phase in report["phases"] if phase["name"] == "import")
    assert imported["reached"] == imported["planned"] > 0
    assert len(imported["failed"]) < imported["planned"]
    jsonschema.validate(report, json.loads((ROOT / "docs/report.schema.json").read_text()))
    again = fumehood("report", "--format", "json", fumehood.bundle())
    assert again.out == ran.out, "the report is a pure function of the bundle"
