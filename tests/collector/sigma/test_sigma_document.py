"""The tables of docs/rules.md are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from sigma.modifiers import modifier_mapping

from collector.errors import RuleError
from collector.sigma.document import BLOCKS, MODIFIERS, modifier_table, renewed

PAGE = Path(__file__).parents[3] / "docs" / "rules.md"


def test_the_documentation_is_up_to_date() -> None:
    """To renew it: fumehood rules docs --update docs/rules.md."""
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page


def test_every_modifier_that_pysigma_knows_is_told() -> None:
    assert set(MODIFIERS) == set(modifier_mapping)
    assert modifier_table().count("\n") == len(MODIFIERS) + 2


@pytest.mark.parametrize("name", BLOCKS)
def test_a_page_without_a_block_is_refused(name: str) -> None:
    page = "".join(f"<!-- {other}: begin -->\n<!-- {other}: end -->\n" for other in BLOCKS if other != name)
    with pytest.raises(RuleError, match=f"no block <!-- {name}: begin -->"):
        renewed(page)
