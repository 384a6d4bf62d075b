"""The rules that come with fumehood, and those written in its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.findings import match
from collector.sigma.examples import processes_told
from collector.sigma.lists import load_list
from collector.sigma.load import load_lists, load_rule, load_rules
from collector.sigma.view import Context

ROOT = Path(__file__).parents[3]
RULES = ROOT / "profiles" / "rules"
LISTS = load_lists(RULES)
FILES = sorted(path.relative_to(RULES).as_posix() for path in RULES.rglob("*.yml") if path.parent != RULES / "lists")


@pytest.mark.parametrize("name", FILES)
def test_each_shipped_rule_loads_and_does_what_its_examples_say(name: str) -> None:
    assert load_rule(name, (RULES / name).read_bytes(), LISTS)


def test_the_shipped_rules_load_together() -> None:
    rules = load_rules(RULES)
    assert len(rules.rules) >= 15
    assert match(rules, [], Context("/home/dev", "dev", processes_told([]))) == ()


def test_the_rules_in_the_documentation_load() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.DOTALL)
    lists = [block for block in blocks if block.startswith("# profiles/rules/lists/")]
    rules = [block for block in blocks if block not in lists]
    assert (len(rules), len(lists)) == (2, 1)
    for number, block in enumerate(rules):
        assert load_rule(f"documented-{number}.yml", block.encode())
    assert load_list("lists/documented.yml", lists[0].encode()).entries
