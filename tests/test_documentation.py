"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.config.describe import page, sections
from tests.escape.table import ATTEMPTS as TABLE
from tests.escape.test_disturbance import DISTURBANCES

ROOT = Path(__file__).parents[1]
THREAT_MODEL = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
ATTEMPTS = sorted(set(re.findall(r"`tests/escape::([A-Za-z0-9_-]+)`", THREAT_MODEL)))
TESTS = sorted(set(re.findall(r"`(tests/[a-z0-9_/]+[.]py)::(test_[a-z0-9_]+)`", THREAT_MODEL)))
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_each_test_that_the_threat_model_names_exists(path: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_threat_model_and_the_escape_suite_name_the_same_attempts() -> None:
    """No attempt that is not there, and none that proves nothing."""
    assert sorted(row.name for row in (*TABLE, *DISTURBANCES)) == ATTEMPTS


def test_every_pointer_of_the_threat_model_is_understood() -> None:
    """A test whose pointer is misspelt would not be looked for."""
    pointers = re.findall(r"`(tests/[^`]*::[^`]+)`", THREAT_MODEL)
    understood = {f"{path}::{name}" for path, name in TESTS} | {f"tests/escape::{name}" for name in ATTEMPTS}
    assert sorted(set(pointers) - understood) == []


def test_the_threat_model_names_tests() -> None:
    assert len(TESTS) > 30


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    local = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]

    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


def test_the_configuration_is_documented_as_it_is() -> None:
    """Make it anew with `python -m sandbox.config.describe > docs/configuration.md`."""
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == page()


def test_every_key_of_the_configuration_says_what_it_is() -> None:
    assert [".".join(key.path) for section in sections() for key in section.keys if not key.says] == []
