"""The rules that come with fumehood, and those written in its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.findings import match
from collector.sigma.examples import processes_told
from collector.sigma.load import load_rule, load_rules
from collector.sigma.view import Context

ROOT = Path(__file__).parents[3]
RULES = ROOT / "profiles" / "rules"
FILES = sorted(path.relative_to(RULES).as_posix() for path in RULES.rglob("*.yml"))


@pytest.mark.parametrize("name", FILES)
def test_each_shipped_rule_loads_and_does_what_its_examples_say(name: str) -> None:
    assert load_rule(name, (RULES / name).read_bytes())


def test_the_shipped_rules_load_together() -> None:
    rules = load_rules(RULES)
    assert len(rules.rules) >= 15
    assert match(rules, [], Context("/home/dev", "dev", processes_told([]))) == ()


def test_the_rules_in_the_documentation_load() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        assert load_rule(f"documented-{number}.yml", block.encode())
