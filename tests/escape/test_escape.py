"""Each attempt failed, reached nothing of the machine, and was told of as the table says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from collector.gaps import gaps
from tests.escape.stage import is_told, shown
from tests.escape.table import ATTEMPTS

if TYPE_CHECKING:
    from tests.escape.attempt import Attempt
    from tests.escape.stage import Stage

pytestmark = pytest.mark.early


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_the_attempt_fails_and_is_told(stage: Stage, attempt: Attempt) -> None:
    row = attempt.in_runtime(stage.runtime)
    events = stage.events(row)
    assert events, "the attempt was made, and seen"
    words = stage.said.get(row.module, ())
    assert [word for word in words if not re.fullmatch(row.word, word)] == [], f"{words}\n{shown(events)}"
    assert words or row.word == "", f"the attempt came to its end\n{shown(events)}"
    if row.told:
        assert is_told(row.told, events), f"{row.told} is not among\n{shown(events)}"
    assert row.finding in {"", *stage.findings(events)}, f"{stage.findings(events)}\n{shown(events)}"
    # What the whole machine shows is every attempt's matter: nobody can say which of them it was.
    assert stage.changes == []


def test_the_evidence_is_whole(stage: Stage) -> None:
    """No attempt blinded the tracer, cut a record or ended a phase."""
    statuses = {phase.name: (phase.status, phase.trace_complete) for phase in stage.manifest.phases}
    assert set(statuses.values()) == {("completed", True)}, stage.manifest.phases
    assert list(gaps(stage.manifest, stage.told)) == [], stage.lost


def test_no_forged_line_became_an_event(stage: Stage) -> None:
    forged = [event for event in stage.told.events if getattr(event, "image", "") == "/bin/forged"]
    assert forged == []


def test_every_attempt_was_made_once(stage: Stage) -> None:
    """A driver that was told lies by a module still counts each module, and no more."""
    (phase,) = (phase for phase in stage.manifest.phases if phase.name == "import")
    assert phase.coverage is not None
    assert phase.coverage.planned == phase.coverage.reached == len(ATTEMPTS) + 2
    assert phase.coverage.timed_out == phase.coverage.unreached == ()


def test_the_table_is_large_and_has_no_name_twice() -> None:
    names = [attempt.name for attempt in ATTEMPTS]
    assert len(names) == len(set(names)) >= 40
