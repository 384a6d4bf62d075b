"""A small trial; `make chaos` does a large one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.trial import Plan, Trial

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.pod
@pytest.mark.early
@pytest.mark.usefixtures("base_image")
def test_whatever_is_killed_each_submission_ends_once(tmp_path: Path) -> None:
    trial = Trial(Plan(submissions=40, hosts=2, slots=1, every=2.5, strikes=12, seed=40), tmp_path)
    try:
        outcome = trial.run(print)
    finally:
        trial.close()
    told = "\n".join(outcome.lines())
    assert outcome.faults == (), told
    assert outcome.states == {"done": 40}, told
    assert len(outcome.strikes) >= 8, told
