"""The names of ATT&CK techniques: every technique that a shipped rule tags has one."""

from __future__ import annotations

import re

import pytest

from collector.attack import NAMES, name_of
from tests.collector.sigma.sigmas import shipped


def test_every_technique_of_a_shipped_rule_has_a_name() -> None:
    used = {technique: rule.path for rule in shipped().rules for technique in rule.attack}
    assert used
    unnamed = {technique: path for technique, path in used.items() if not name_of(technique)}
    assert not unnamed, "add their names to collector/attack.py"


def test_the_table_is_in_order_and_of_one_form() -> None:
    assert list(NAMES) == sorted(NAMES)
    for technique, name in NAMES.items():
        assert re.fullmatch(r"T\d{4}(\.\d{3})?", technique)
        # Names of sub-techniques begin with their technique's.
        assert (": " in name) is ("." in technique), technique
        parent = NAMES.get(technique.partition(".")[0])
        assert parent is None or name.startswith(parent)


@pytest.mark.parametrize(
    ("technique", "name"),
    [
        ("T1552.001", "Unsecured Credentials: Credentials In Files"),
        ("T1041", "Exfiltration Over C2 Channel"),
        ("T1", ""),
    ],
)
def test_names(technique: str, name: str) -> None:
    assert name_of(technique) == name
